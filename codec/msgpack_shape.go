package codec

import (
	"encoding"
	"math"
	"reflect"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// The msgpack library cuts an integer down to the Go type that it is read into: 70,000 becomes 4,464 in a uint16, and -1
// becomes 2^64-1 in a uint64, without a word. encoding/json makes that an error, and so must a codec to which a queue
// moves from it. The check is part of the walk over the payload, for which a shape says what integers are allowed where.
//
// A shape errs on the side of silence. Where it is not certain which field the library will choose, or a method of the
// type decides, it is nil, and allows everything.
type shape struct {
	// For an integer, and a float that may be written as one.
	goType string
	min    int64
	max    uint64

	elem   *shape         // of a slice, an array, or the values of a map
	key    *shape         // of a map
	fields []fieldShape   // of a struct, in the order in which they are written
	byName map[string]int // of fields
}

type fieldShape struct {
	name  string
	shape *shape
}

// field gives the shape of the field called name, and where to look for the one after it: fields mostly come in their
// order.
func (s *shape) field(name []byte, at int) (*shape, int) {
	if at >= len(s.fields) || s.fields[at].name != string(name) {
		var ok bool
		if at, ok = s.byName[string(name)]; !ok {
			return nil, at
		}
	}
	return s.fields[at].shape, at + 1
}

// holds says whether an integer fits, given as n if it is negative and as u if it is not.
func (s *shape) holds(n int64, u uint64) bool {
	if s == nil || s.goType == "" {
		return true
	}
	if n < 0 {
		return n >= s.min
	}
	return u <= s.max
}

// shapeOf gives the shape of values that are decoded into t, where fields are named by the fallback tag if they have no
// `msgpack` tag.
func shapeOf(t reflect.Type, fallback string) *shape {
	b := shapeBuilder{fallback: fallback, seen: make(map[reflect.Type]*shape)}
	return b.shape(t)
}

type shapeBuilder struct {
	fallback string
	seen     map[reflect.Type]*shape // types may be recursive
}

func (b *shapeBuilder) shape(t reflect.Type) *shape {
	if decodesItself(t) {
		return nil
	}
	if t.Kind() == reflect.Pointer {
		return b.shape(t.Elem())
	}
	if s, ok := b.seen[t]; ok {
		return s
	}
	s := new(shape)
	b.seen[t] = s
	if !b.fill(s, t) {
		s = nil
		b.seen[t] = nil
	}
	return s
}

// fill says whether there is anything to check.
func (b *shapeBuilder) fill(s *shape, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		unused := 64 - t.Bits()
		s.goType, s.min, s.max = t.String(), math.MinInt64>>unused, math.MaxInt64>>unused
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		s.goType, s.max = t.String(), math.MaxUint64>>(64-t.Bits())
	case reflect.Float32, reflect.Float64:
		s.goType, s.min, s.max = t.String(), math.MinInt64, math.MaxInt64 // the library goes by way of an int64
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 { // bytes
			return false
		}
		s.elem = b.shape(t.Elem())
		return s.elem != nil
	case reflect.Map:
		s.key, s.elem = b.shape(t.Key()), b.shape(t.Elem())
		return s.key != nil || s.elem != nil
	case reflect.Struct:
		s.byName = make(map[string]int)
		if !b.addFields(s, t) {
			s.fields = nil
		}
		return len(s.fields) > 0
	default:
		return false
	}
	return true
}

// addFields adds the fields of a struct by name, with those of embedded ones that the library inlines. It says whether
// the names are certain: for two fields of one name and for aliases the library has rules that are better not repeated
// here.
func (b *shapeBuilder) addFields(s *shape, t reflect.Type) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("msgpack")
		if tag == "" && b.fallback != "" {
			tag = f.Tag.Get(b.fallback)
		}
		name, options, _ := strings.Cut(tag, ",")
		if strings.ContainsAny(name, ":'\\") || strings.Contains(options, "alias") {
			return false
		}
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, taken := s.byName[name]; taken {
			return false
		}
		s.byName[name] = len(s.fields)
		s.fields = append(s.fields, fieldShape{name, b.shape(f.Type)})
		if f.Anonymous && !strings.Contains(options, "noinline") {
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && !encodesItself(inner) && !decodesItself(inner) && !b.addFields(s, inner) {
				return false
			}
		}
	}
	return true
}

// decodesItself says whether the library leaves decoding to a method of the type.
func decodesItself(t reflect.Type) bool {
	return implementsAny(t,
		reflect.TypeFor[msgpack.CustomDecoder](), reflect.TypeFor[msgpack.Unmarshaler](),
		reflect.TypeFor[encoding.BinaryUnmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]())
}

// encodesItself is decodesItself for encoding.
func encodesItself(t reflect.Type) bool {
	return implementsAny(t,
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler]())
}

func implementsAny(t reflect.Type, interfaces ...reflect.Type) bool {
	for _, i := range interfaces {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}
