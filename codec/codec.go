package codec

import "reflect"

// Codec turns values of T into bytes and back. The codecs of this package are made by [JSON], [MsgPack] and [Bytes]; a
// type of one's own needs only these three methods, and joins a queue in the same way.
//
// All three are called by many goroutines at once. A codec need not guard itself against panics: [Set] does.
type Codec[T any] interface {
	// ContentType names the encoding, as in "application/json". It is stored with each message and chooses the reader of
	// it years later, so it never changes. It is asked for once, by [NewSet].
	ContentType() string

	// Append appends the encoding of v to dst and returns the extended slice, as the append built-in does. After an
	// error its result is ignored, and dst up to its length must be as it was.
	Append(dst []byte, v T) ([]byte, error)

	// Decode reads one whole value from data into v, which arrives zero. It neither keeps nor changes data: a string or
	// slice in v is a copy. After an error the content of v is ignored.
	//
	// The text of an error is stored beside the dead letter and logged, so it says what is wrong and where, and quotes
	// nothing of data. Data left over after the value is an error too.
	Decode(data []byte, v *T) error
}

// typeName is how errors name T.
func typeName[T any]() string { return reflect.TypeFor[T]().String() }
