package codec

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
)

// JSON gives the codec for application/json, by encoding/json and its struct tags. It is the codec of a queue that names
// none.
//
// It differs from json.Marshal and json.Unmarshal in little: "<", ">" and "&" are written as they are, not as \u003c; a
// MarshalJSON with a pointer receiver is used for T itself too; and errors quote nothing of the payload (see the package
// documentation).
func JSON[T any](opts ...JSONOption) Codec[T] {
	var c jsonCodec[T]
	for _, opt := range opts {
		opt.applyJSON(&c.settings)
	}
	return c
}

type jsonCodec[T any] struct{ settings jsonSettings }

func (c jsonCodec[T]) ContentType() string { return typeJSON }

func (c jsonCodec[T]) Append(dst []byte, v T) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, encodeFailed[T](caught(r))
		}
	}()
	e := jsonEncoders.Get().(*jsonEncoder)
	e.out = dst
	err = e.enc.Encode(&v)
	out, e.out = e.out, nil
	jsonEncoders.Put(e)
	if err != nil {
		return dst, encodeFailed[T](err)
	}
	return out[:len(out)-1], nil // the encoder ends each value with a newline
}

func (c jsonCodec[T]) Decode(data []byte, v *T) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = decodeFailed[T](typeJSON, caught(r))
		}
	}()
	if err := c.decode(data, v); err != nil {
		return decodeFailed[T](typeJSON, err)
	}
	return nil
}

func (c jsonCodec[T]) decode(data []byte, v *T) error {
	if len(data) == 0 {
		return errEmpty
	}
	if c.settings == (jsonSettings{}) {
		return json.Unmarshal(data, v)
	}
	// The options exist only on a decoder of streams, which stops after the first value.
	dec := json.NewDecoder(bytes.NewReader(data))
	if c.settings.strict {
		dec.DisallowUnknownFields()
	}
	if c.settings.useNumber {
		dec.UseNumber()
	}
	if err := dec.Decode(v); err != nil {
		return err
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); err != io.EOF {
		return &malformed{what: "data after the JSON value", offset: end}
	}
	return nil
}

// jsonEncoder is an encoder that appends to a slice: json.Marshal cannot leave "<" alone, and copies once more.
type jsonEncoder struct {
	enc *json.Encoder
	out []byte
}

func (e *jsonEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), nil
}

var jsonEncoders = sync.Pool{New: func() any {
	e := new(jsonEncoder)
	e.enc = json.NewEncoder(e)
	e.enc.SetEscapeHTML(false)
	return e
}}
