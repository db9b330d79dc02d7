package codec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Set is what a queue holds: one codec that writes, and all those that read. It is a small value, copied freely, and safe
// for concurrent use. The zero Set is the one that [NewSet] gives for no codecs: it writes JSON.
type Set[T any] struct {
	readers []reader[T] // the writer, the other listed ones, those that are always there
}

type reader[T any] struct {
	contentType string // as the codec gives it
	essence     string // as it is compared
	codec       Codec[T]
}

// NewSet gives a set whose first codec writes and which reads by every listed one. JSON and MessagePack are always read,
// unless a listed codec takes their content type; with no codecs given, JSON writes.
//
// A nil codec, two codecs with the same content type, and a content type that is empty, longer than 255 bytes, not UTF-8
// or has control characters in it, are errors. They are returned together, joined.
func NewSet[T any](codecs ...Codec[T]) (Set[T], error) {
	if len(codecs) == 0 {
		return Set[T]{readers: always[T]()}, nil
	}
	var readers []reader[T]
	var problems []error
	for i, c := range codecs {
		r, err := newReader(c)
		if err == nil && find(readers, r.essence) != nil {
			err = fmt.Errorf("content type %s is taken by a codec listed before", quote(r.essence))
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("codec: codec %d of %d for %s: %w", i+1, len(codecs), typeName[T](), err))
			continue
		}
		readers = append(readers, r)
	}
	if len(problems) > 0 {
		return Set[T]{}, errors.Join(problems...)
	}
	for _, r := range always[T]() {
		if find(readers, r.essence) == nil {
			readers = append(readers, r)
		}
	}
	return Set[T]{readers: readers}, nil
}

func newReader[T any](c Codec[T]) (r reader[T], err error) {
	if v := reflect.ValueOf(c); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return r, errors.New("it is nil")
	}
	defer func() {
		if p := recover(); p != nil {
			err = caught(p)
		}
	}()
	contentType := c.ContentType()
	if err := checkContentType(contentType); err != nil {
		return r, err
	}
	return reader[T]{contentType: contentType, essence: essence(contentType), codec: c}, nil
}

// always are the codecs that every set reads by.
func always[T any]() []reader[T] {
	return []reader[T]{
		{typeJSON, typeJSON, JSON[T]()},
		{typeMsgPack, typeMsgPack, MsgPack[T]()},
	}
}

// all is where the zero Set becomes a useful one.
func (s Set[T]) all() []reader[T] {
	if len(s.readers) == 0 {
		return always[T]()
	}
	return s.readers
}

// ContentType gives the content type of the codec that writes, as that one names it.
func (s Set[T]) ContentType() string { return s.all()[0].contentType }

// Append appends the encoding of v to dst by the codec that writes. An error is a *[EncodeError]; the slice beside it is
// dst.
func (s Set[T]) Append(dst []byte, v T) (out []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, &EncodeError{Type: typeName[T](), Err: caught(r)}
		}
	}()
	out, err = s.all()[0].codec.Append(dst, v)
	if err == nil {
		return out, nil
	}
	if e, ok := err.(*EncodeError); ok && e.Err != nil {
		err = e.Err // the set's own error is the same, but for a codec that names another type
	}
	return dst, &EncodeError{Type: typeName[T](), Err: discreetForeign[T](err)}
}

// Decode reads data by the codec for contentType, which is the one that the message carries. It is compared without its
// parameters and without regard to case. Beyond the types that codecs name, a set reads:
//
//   - types that end in "+json" as JSON; "application/x-msgpack" and "application/vnd.msgpack" as MessagePack;
//   - "text/plain" into a T that is a string, a []byte, an encoding.TextUnmarshaler or an any;
//   - no content type at all by the codec for "application/octet-stream" if one is listed, else it tries JSON.
//
// A codec listed for one of these goes first. An error is a *[DecodeError], with an *[UnknownContentTypeError] in it where
// nothing reads contentType; the value beside it is zero.
func (s Set[T]) Decode(contentType string, data []byte) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = caught(r)
		}
		if err != nil {
			var zero T
			v, err = zero, &DecodeError{Type: typeName[T](), ContentType: contentType, Err: err}
		}
	}()
	err = s.decode(contentType, data, &v)
	return v, err
}

// decode gives the bare cause of an error.
func (s Set[T]) decode(contentType string, data []byte, v *T) error {
	readers, kind := s.all(), essence(contentType)
	if c := find(readers, kind); c != nil {
		return decodeBy(c, data, v)
	}
	switch {
	case kind == "":
		if c := find(readers, typeBytes); c != nil {
			return decodeBy(c, data, v)
		}
		if err := decodeBy(find(readers, typeJSON), data, v); err != nil {
			return &cause{text: "read as JSON, since no codec for " + typeBytes + " is listed: " + err.Error(), err: err}
		}
		return nil
	case kind == typeText:
		if err := decodeText(data, v); err != nil {
			return discreet[T](err)
		}
		return nil
	case strings.HasSuffix(kind, "+json"):
		return decodeBy(find(readers, typeJSON), data, v)
	case kind == "application/x-msgpack", kind == "application/vnd.msgpack":
		return decodeBy(find(readers, typeMsgPack), data, v)
	}
	unknown := &UnknownContentTypeError{ContentType: contentType}
	for _, r := range readers {
		unknown.Known = append(unknown.Known, r.contentType)
	}
	if takesText[T]() {
		unknown.Known = append(unknown.Known, typeText)
	}
	return unknown
}

func decodeBy[T any](c Codec[T], data []byte, v *T) error {
	err := c.Decode(data, v)
	if err == nil {
		return nil
	}
	if e, ok := err.(*DecodeError); ok && e.Err != nil {
		err = e.Err
	}
	return discreetForeign[T](err)
}

// find gives the codec for exactly this content type, or nil. A set has two to four, among which a scan is faster than a
// map.
func find[T any](readers []reader[T], essence string) Codec[T] {
	for i := range readers {
		if readers[i].essence == essence {
			return readers[i].codec
		}
	}
	return nil
}
