package codec

import (
	"encoding/binary"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// The msgpack library makes a slice or map of the size that a header claims before it has seen one element, and calls
// itself for each level: ten bytes can ask for gigabytes, and a few megabytes of nested arrays for a stack that ends the
// process. Neither can be recovered from. So a payload is walked first. Once it is known that each claimed element is
// there, and that none lies too deep, the library can allocate no more than in proportion to the payload.

// maxDepth is the limit of encoding/json. The text of errTooDeep gives it too.
const maxDepth = 10_000

const (
	extTimestamp = -1
	extInterned  = -128
)

// span is the body of an extension that is not itself made of MessagePack values.
type span struct{ start, end int }

// scanMsgPack checks that data is exactly one well-formed value, whose integers fit where want knows their type. It
// appends the spans that are opaque to it to opaque, in order.
func scanMsgPack(data []byte, want *shape, opaque []span) ([]span, error) {
	s := scanner{data: data, end: len(data), opaque: opaque}
	if err := s.value(want, 0); err != nil {
		return s.opaque, err
	}
	if s.pos < len(data) {
		return s.opaque, s.fault("data after the MessagePack value", s.pos)
	}
	return s.opaque, nil
}

type scanner struct {
	data   []byte
	pos    int
	end    int // of what may be read: of the data, or of the body of an extension
	opaque []span
}

// container is an array or map whose children are not all read yet.
type container struct {
	left  int    // how many; a map has two for each of its pairs
	of    *shape // of the container itself, where it is a map
	child *shape // of the next child, except for the key of a map
	field int    // the one to expect next, where it is a struct
}

func (s *scanner) fault(what string, at int) error {
	return &malformed{what: what, offset: int64(at)}
}

// value walks over the value at pos, which lies in depth containers. Those inside it are on a stack of its own; the call
// stack is for extensions only.
func (s *scanner) value(want *shape, depth int) error {
	var room [16]container
	open := append(room[:0], container{left: 1, child: want})
	for len(open) > 0 {
		top := &open[len(open)-1]
		if top.left == 0 {
			open = open[:len(open)-1]
			continue
		}
		top.left--
		want := top.child
		if top.of != nil && top.left%2 == 1 { // the key of a map
			want, top.child = top.of.key, top.of.elem
			if top.of.fields != nil {
				top.child, top.field = top.of.field(s.peekString(), top.field)
			}
		}
		inner, err := s.head(want, depth+len(open)-1)
		if err != nil {
			return err
		}
		if inner.left > 0 {
			if depth+len(open) > maxDepth {
				return errTooDeep
			}
			open = append(open, inner)
		}
	}
	return nil
}

// head walks over the head of a value and, where it is no container, over all of it.
func (s *scanner) head(want *shape, depth int) (container, error) {
	if s.pos >= s.end {
		return container{}, s.fault("the MessagePack value ends too early", s.end)
	}
	start := s.pos
	c := s.data[s.pos]
	s.pos++
	switch {
	case msgpcode.IsFixedNum(c):
		return container{}, s.integer(int64(int8(c)), uint64(c), want, start)
	case msgpcode.IsFixedString(c):
		return container{}, s.skip(int(c&msgpcode.FixedStrMask), start)
	case msgpcode.IsFixedMap(c):
		return s.openMap(int(c&msgpcode.FixedMapMask), want, start)
	case msgpcode.IsFixedArray(c):
		return s.openArray(int(c&msgpcode.FixedArrayMask), want, start)
	}
	var err error
	switch c { // the codes by number, since those of msgpcode are variables
	case 0xc0, 0xc2, 0xc3: // nil, false, true
	case 0xcc, 0xcd, 0xce, 0xcf: // uint8 to uint64
		var u uint64
		if u, err = s.uint(1<<(c-0xcc), start); err == nil {
			err = s.integer(0, u, want, start)
		}
	case 0xd0, 0xd1, 0xd2, 0xd3: // int8 to int64
		var u uint64
		width := 1 << (c - 0xd0)
		if u, err = s.uint(width, start); err == nil {
			unused := 64 - 8*width
			n := int64(u<<unused) >> unused // with its sign
			err = s.integer(n, uint64(n), want, start)
		}
	case 0xca: // float32
		err = s.skip(4, start)
	case 0xcb: // float64
		err = s.skip(8, start)
	case 0xd9, 0xda, 0xdb: // string, by the width of its length
		err = s.sized(1<<(c-0xd9), start)
	case 0xc4, 0xc5, 0xc6: // bytes
		err = s.sized(1<<(c-0xc4), start)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // extension of 1, 2, 4, 8, 16 bytes
		err = s.extension(1<<(c-0xd4), depth, start)
	case 0xc7, 0xc8, 0xc9: // extension, by the width of its length
		var n int
		if n, err = s.length(1<<(c-0xc7), start); err == nil {
			err = s.extension(n, depth, start)
		}
	case 0xdc, 0xdd: // array
		var n int
		if n, err = s.length(2<<(c-0xdc), start); err == nil {
			return s.openArray(n, want, start)
		}
	case 0xde, 0xdf: // map
		var n int
		if n, err = s.length(2<<(c-0xde), start); err == nil {
			return s.openMap(n, want, start)
		}
	default:
		err = s.fault("a byte that is not MessagePack", start)
	}
	return container{}, err
}

func (s *scanner) openArray(n int, want *shape, start int) (container, error) {
	c := container{left: n}
	if want != nil {
		c.child = want.elem // none for a struct that is written as an array: its order is the library's affair
	}
	return c, s.claim(n, start)
}

func (s *scanner) openMap(n int, want *shape, start int) (container, error) {
	return container{left: 2 * n, of: want}, s.claim(2*n, start)
}

// claim checks the size that a header claims. Each child takes at least one byte.
func (s *scanner) claim(n, start int) error {
	if n > s.end-s.pos {
		return s.fault("a value claims more than the payload holds", start)
	}
	return nil
}

func (s *scanner) skip(n, start int) error {
	if err := s.claim(n, start); err != nil {
		return err
	}
	s.pos += n
	return nil
}

func (s *scanner) sized(width, start int) error {
	n, err := s.length(width, start)
	if err != nil {
		return err
	}
	return s.skip(n, start)
}

// length is bounded by that of the payload, so that twice of it is an int on all platforms.
func (s *scanner) length(width, start int) (int, error) {
	u, err := s.uint(width, start)
	if err == nil && u > uint64(len(s.data)) {
		err = s.fault("a value claims more than the payload holds", start)
	}
	return int(u), err
}

func (s *scanner) uint(width, start int) (uint64, error) {
	if err := s.skip(width, start); err != nil {
		return 0, err
	}
	b := s.data[s.pos-width : s.pos]
	switch width {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.BigEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.BigEndian.Uint32(b)), nil
	}
	return binary.BigEndian.Uint64(b), nil
}

func (s *scanner) integer(n int64, u uint64, want *shape, start int) error {
	if want.holds(n, u) {
		return nil
	}
	return s.fault("an integer that does not fit into type "+want.goType, start)
}

// peekString gives the string at pos, or nothing if there is none; what is wrong with it is found when it is walked over.
func (s *scanner) peekString() []byte {
	if s.pos >= s.end {
		return nil
	}
	c := s.data[s.pos]
	head, n := 1, int(c&msgpcode.FixedStrMask)
	if !msgpcode.IsFixedString(c) {
		if c != msgpcode.Str8 || s.pos+1 >= s.end { // nobody names a field in more than 255 bytes
			return nil
		}
		head, n = 2, int(s.data[s.pos+1])
	}
	if head+n > s.end-s.pos {
		return nil
	}
	return s.data[s.pos+head : s.pos+head+n]
}

// extension walks over the type and the body of an extension. What is in a body is up to the decoder of its type; but the
// library steps into any body where it wants a map. So a body is either a sequence of well-formed values, and then safe
// to step into, or it is opaque, and then [checkedPayload] lets nobody step into it.
func (s *scanner) extension(n, depth, start int) error {
	if err := s.skip(1, start); err != nil {
		return err
	}
	kind := int8(s.data[s.pos-1])
	if kind == extInterned {
		return s.fault("an interned string", start)
	}
	body := s.pos
	if err := s.skip(n, start); err != nil {
		return err
	}
	if n > 0 && (kind == extTimestamp || !s.stepInto(body, depth+1)) {
		s.opaque = append(s.opaque, span{body, s.pos})
	}
	return nil
}

// stepInto says whether the bytes from start to pos are a sequence of well-formed values.
func (s *scanner) stepInto(start, depth int) bool {
	if depth > maxDepth {
		return false
	}
	body := scanner{data: s.data, pos: start, end: s.pos, opaque: s.opaque}
	for body.pos < body.end {
		if body.value(nil, depth) != nil {
			return false
		}
	}
	s.opaque = body.opaque
	return true
}

// msgPackKind names the kind of value that starts with c.
func msgPackKind(c byte) string {
	switch {
	case c == msgpcode.Nil:
		return "nil"
	case c == msgpcode.False, c == msgpcode.True:
		return "a bool"
	case c == msgpcode.Float, c == msgpcode.Double:
		return "a float"
	case msgpcode.IsString(c):
		return "a string"
	case msgpcode.IsBin(c):
		return "bytes"
	case msgpcode.IsExt(c):
		return "an extension"
	case msgpcode.IsFixedArray(c), c == msgpcode.Array16, c == msgpcode.Array32:
		return "an array"
	case msgpcode.IsFixedMap(c), c == msgpcode.Map16, c == msgpcode.Map32:
		return "a map"
	}
	return "an integer"
}
