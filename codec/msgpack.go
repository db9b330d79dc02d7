package codec

import (
	"reflect"
	"runtime"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// MsgPack gives the codec for application/msgpack, by github.com/vmihailenco/msgpack/v5. Its payloads are smaller than
// JSON, []byte and time.Time are values of their own, and any language reads them.
//
// A struct is a map from field names to values. A field is named by its `msgpack` tag, else by its `json` tag (see
// [Tag]), else as in Go: a queue that moves from JSON keeps its names. "omitempty" and "-" are understood in both tags.
// What is not as in JSON:
//
//   - Names are compared with regard to case. An embedded struct is always inlined, even where its tag gives it a name.
//   - MarshalJSON and UnmarshalJSON are not called. The methods that are, in this order: EncodeMsgpack, MarshalMsgpack,
//     MarshalBinary, MarshalText, and their counterparts. A type whose fields are all unexported and which has none of them
//     comes out as an empty map. json.RawMessage is bytes.
//   - An integer is written in as few bytes as hold it. As in JSON, one that does not fit the type it is read into is an
//     error; but this is not seen in a struct that is written as an array ("as_array"), or one with an alias or two fields
//     of one name, where the msgpack library cuts it. A float64 is never read into a float32.
//   - Read into an interface, a number has the type it was written in (int8, uint16, float64, ...), and a map is a
//     map[string]any, or a map[any]any where not all of its keys are strings. The order of a map is not fixed.
//   - A time keeps its instant to the nanosecond, not its zone: it is read in the local one.
//
// Payloads are checked before they are read: sizes that the payload cannot hold, values nested deeper than 10,000 and
// anything but exactly one value are errors. So a method that encodes T must write exactly one value, such as an array;
// that is checked on the way out. Interned strings (the "intern" option of a tag) are refused, since no other library
// reads them.
func MsgPack[T any](opts ...MsgPackOption) Codec[T] {
	c := msgPackCodec[T]{settings: msgPackSettings{tag: "json"}}
	for _, opt := range opts {
		opt.applyMsgPack(&c.settings)
	}
	c.shape = sync.OnceValue(func() *shape { return shapeOf(reflect.TypeFor[T](), c.settings.tag) })
	return c
}

type msgPackCodec[T any] struct {
	settings msgPackSettings
	shape    func() *shape // of T; made once, when it is needed
}

func (c msgPackCodec[T]) ContentType() string { return typeMsgPack }

func (c msgPackCodec[T]) Append(dst []byte, v T) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, encodeFailed[T](caught(r))
		}
	}()
	e := msgPackEncoders.Get().(*msgPackEncoder)
	out, err = e.append(dst, &v, c.settings)
	if err != nil {
		return dst, encodeFailed[T](err)
	}
	msgPackEncoders.Put(e) // not after an error or a panic, so that no half-written state is ever reused
	return out, nil
}

func (c msgPackCodec[T]) Decode(data []byte, v *T) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = decodeFailed[T](typeMsgPack, caught(r))
		}
	}()
	d := msgPackDecoders.Get().(*msgPackDecoder)
	if err := d.decode(data, v, c.shape(), c.settings); err != nil {
		return decodeFailed[T](typeMsgPack, err)
	}
	if len(data) <= maxPooled {
		msgPackDecoders.Put(d)
	}
	return nil
}

// maxPooled bounds the payload whose decoder goes back to the pool: the library keeps a buffer as long as the longest
// string, and the opaque spans grow with the number of timestamps.
const maxPooled = 64 << 10

// msgPackEncoder is an encoder that appends to a slice.
type msgPackEncoder struct {
	enc     *msgpack.Encoder
	out     []byte
	checkAt int // the length of out at which the depth of the stack is looked at next
	opaque  []span
}

var msgPackEncoders = sync.Pool{New: func() any {
	return &msgPackEncoder{enc: msgpack.NewEncoder(nil)}
}}

func (e *msgPackEncoder) append(dst []byte, v any, s msgPackSettings) ([]byte, error) {
	e.out, e.checkAt = dst, len(dst)+firstStackCheck
	e.enc.Reset(e)
	e.enc.SetCustomStructTag(s.tag)
	e.enc.UseCompactInts(true)
	err := e.enc.Encode(v)
	out := e.out
	e.out = nil
	if err != nil {
		return nil, err
	}
	// What cannot be read back must not be published. The walk adds a seventh to the time.
	e.opaque, err = scanMsgPack(out[len(dst):], nil, e.opaque[:0])
	if err != nil {
		return nil, &unreadable{err}
	}
	return out, nil
}

func (e *msgPackEncoder) Write(p []byte) (int, error) {
	e.out = append(e.out, p...)
	return len(p), e.checkStack()
}

func (e *msgPackEncoder) WriteByte(c byte) error {
	e.out = append(e.out, c)
	return e.checkStack()
}

const (
	firstStackCheck = 64 << 10
	maxFrames       = 10 * maxDepth // some 3 to 5 frames a level
)

// checkStack stops at a value that contains itself, while the stack is still small: its overflow at 1 GB cannot be
// recovered from. It looks each time the output has doubled, which costs nothing to speak of. A loop of pointers and
// interfaces alone writes nothing, and is not caught.
func (e *msgPackEncoder) checkStack() error {
	if len(e.out) < e.checkAt {
		return nil
	}
	e.checkAt = 2 * len(e.out)
	var pc [1]uintptr
	if runtime.Callers(maxFrames, pc[:]) > 0 {
		return errTooDeep
	}
	return nil
}

// msgPackDecoder is a decoder with the reader it reads from.
type msgPackDecoder struct {
	dec *msgpack.Decoder
	in  checkedPayload
}

var msgPackDecoders = sync.Pool{New: func() any {
	return &msgPackDecoder{dec: msgpack.NewDecoder(nil)}
}}

func (d *msgPackDecoder) decode(data []byte, v any, want *shape, s msgPackSettings) error {
	if len(data) == 0 {
		return errEmpty
	}
	opaque, err := scanMsgPack(data, want, d.in.opaque[:0])
	if err != nil {
		return err
	}
	d.in = checkedPayload{data: data, opaque: opaque}
	d.dec.Reset(&d.in)
	d.dec.SetCustomStructTag(s.tag)
	d.dec.DisallowUnknownFields(s.strict)
	d.dec.SetMapDecoder(decodeAnyMap)
	if err := d.dec.Decode(v); err != nil {
		return err
	}
	if d.in.pos != len(data) { // a DecodeMsgpack method that left part of its value
		return &malformed{what: "data is left over", offset: int64(d.in.pos)}
	}
	d.in.data = nil
	return nil
}

// decodeAnyMap reads a map into an interface. The library's own way fails for a key that is no string, and maps with
// integers for keys are common in Python.
func decodeAnyMap(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	named := make(map[string]any, n)
	for i := range n {
		key, err := d.DecodeInterface()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			mixed := make(map[any]any, n)
			for k, v := range named {
				mixed[k] = v
			}
			return mixed, decodeMixedMap(d, mixed, key, n-i)
		}
		if named[name], err = d.DecodeInterface(); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// decodeMixedMap reads the n pairs that are left, the first key of which is read already.
func decodeMixedMap(d *msgpack.Decoder, into map[any]any, key any, n int) (err error) {
	for ; ; n-- {
		if key != nil && !reflect.ValueOf(key).Comparable() {
			return errMapKey
		}
		if into[key], err = d.DecodeInterface(); err != nil {
			return err
		}
		if n == 1 {
			return nil
		}
		if key, err = d.DecodeInterface(); err != nil {
			return err
		}
	}
}
