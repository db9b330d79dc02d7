package codec

// Bytes gives the codec for application/octet-stream: the payload is the value. Both ways it is copied, so that neither the
// sender nor the receiver shares memory with the library. An empty payload is read as an empty slice, never nil.
//
// List it to read what has no content type, such as the bytes that a Python service published.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return typeBytes }

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(data []byte, v *[]byte) error {
	*v = append([]byte{}, data...)
	return nil
}
