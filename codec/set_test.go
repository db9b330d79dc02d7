package codec_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
)

func TestSet_WritesByItsFirstCodec(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		codecs      []codec.Codec[int]
		contentType string
		data        string
	}{
		{"JSON if there is none", nil, "application/json", "7"},
		{"MessagePack", []codec.Codec[int]{codec.MsgPack[int]()}, "application/msgpack", "\x07"},
		{"the first of two", []codec.Codec[int]{codec.JSON[int](), codec.MsgPack[int]()}, "application/json", "7"},
		{"a codec of one's own, whose content type is kept as it is", []codec.Codec[int]{tally{}, codec.JSON[int]()},
			"Text/X-Tally; base=1", "|||||||"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			set, err := codec.NewSet(tt.codecs...)
			is.NoErr(err)
			data, err := set.Append([]byte("> "), 7)
			is.NoErr(err)
			is.Equal(set.ContentType(), tt.contentType)
			is.Equal(string(data), "> "+tt.data)

			got, err := set.Decode(set.ContentType(), data[2:])
			is.NoErr(err)
			is.Equal(got, 7)
		})
	}
}

// tally writes a number in strokes. Its zero value is one that behaves.
type tally struct {
	contentType string
	appended    func(dst []byte) ([]byte, error)
	decoded     func() error
}

func (c tally) ContentType() string {
	if c.contentType == "" {
		return "Text/X-Tally; base=1"
	}
	return c.contentType
}

func (c tally) Append(dst []byte, v int) ([]byte, error) {
	if c.appended != nil {
		return c.appended(dst)
	}
	return append(dst, strings.Repeat("|", v)...), nil
}

func (c tally) Decode(data []byte, v *int) error {
	*v = len(data)
	if c.decoded != nil {
		return c.decoded()
	}
	return nil
}

func TestSet_ReadsByContentType(t *testing.T) {
	t.Parallel()
	mine := func(contentType string) codec.Codec[int] { return tally{contentType: contentType} }
	for _, tt := range []struct {
		name        string
		codecs      []codec.Codec[int]
		contentType string
		data        string
		want        int
	}{
		{"JSON", nil, "application/json", "7", 7},
		{"JSON, with a parameter and in capitals", nil, "Application/JSON ; charset=utf-8", "7", 7},
		{"JSON under another name", nil, "application/vnd.orders.v2+json", "7", 7},
		{"JSON, though MessagePack writes", []codec.Codec[int]{codec.MsgPack[int]()}, "application/json", "7", 7},
		{"MessagePack, though JSON writes", nil, "application/msgpack", "\x07", 7},
		{"MessagePack by its older name", nil, "application/x-msgpack", "\x07", 7},
		{"MessagePack by its registered name", nil, "application/vnd.msgpack", "\x07", 7},
		{"a listed codec", []codec.Codec[int]{codec.JSON[int](), tally{}}, "text/x-tally", "|||", 3},
		{"a listed codec in place of JSON", []codec.Codec[int]{mine("application/json")}, "application/json", "|||", 3},
		{"what takes the place of JSON, for its other names too", []codec.Codec[int]{mine("application/json")}, "a/b+json",
			"|||", 3},
		{"a listed codec for one of JSON's names", []codec.Codec[int]{mine("a/b+json")}, "A/B+JSON", "|||", 3},
		{"what takes the place of MessagePack, for its other names too", []codec.Codec[int]{mine("application/msgpack")},
			"application/x-msgpack", "|||", 3},
		{"a listed codec for one of MessagePack's names", []codec.Codec[int]{mine("application/x-msgpack")},
			"application/x-msgpack", "|||", 3},
		{"a listed codec in place of plain text", []codec.Codec[int]{mine("text/plain")}, "text/plain", "|||", 3},
		{"nothing, as JSON", nil, "", "7", 7},
		{"nothing but a parameter, as JSON", nil, "; charset=utf-8", "7", 7},
		{"nothing, as what takes the place of JSON", []codec.Codec[int]{mine("application/json")}, "", "|||", 3},
		{"nothing, by a listed codec for bytes", []codec.Codec[int]{codec.JSON[int](), mine("application/octet-stream")}, "",
			"|||", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			set, err := codec.NewSet(tt.codecs...)
			is.NoErr(err)
			got, err := set.Decode(tt.contentType, []byte(tt.data))
			is.NoErr(err)
			is.Equal(got, tt.want)
		})
	}
}

// The rows that a Python service writes into the same table.
func TestSet_ReadsWhatPythonPublishes(t *testing.T) {
	t.Parallel()

	t.Run("a number, a string and an object", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		n, err := codec.Set[int]{}.Decode("application/json", []byte(`1`))
		is.NoErr(err)
		is.Equal(n, 1)
		s, err := codec.Set[string]{}.Decode("application/json", []byte(`"x"`))
		is.NoErr(err)
		is.Equal(s, "x")
		l, err := codec.Set[line]{}.Decode("application/json", []byte(`{"sku": "x", "count": 2}`))
		is.NoErr(err)
		is.Equal(l, line{SKU: "x", Count: 2})
	})
	t.Run("a str", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		got, err := codec.Set[string]{}.Decode("text/plain", []byte("grüße"))
		is.NoErr(err)
		is.Equal(got, "grüße")
	})
	t.Run("bytes, and None", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		set, err := codec.NewSet(codec.JSON[[]byte](), codec.Bytes())
		is.NoErr(err)
		got, err := set.Decode("", []byte{0, 0xff})
		is.NoErr(err)
		is.Equal(got, []byte{0, 0xff})
		got, err = set.Decode("", nil)
		is.NoErr(err)
		is.Equal(got, []byte{})
	})
	t.Run("bytes into a type that has no codec for them", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		_, err := codec.Set[line]{}.Decode("", []byte{0, 0xff})
		is.Equal(err.Error(), "codec: decode codec_test.line from a payload without content type: "+
			"read as JSON, since no codec for application/octet-stream is listed: invalid JSON, at offset 1")
	})
	t.Run("None into a type that has no codec for it", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		_, err := codec.Set[line]{}.Decode("", nil)
		is.Equal(err.Error(), "codec: decode codec_test.line from a payload without content type: "+
			"read as JSON, since no codec for application/octet-stream is listed: the payload is empty")
	})
}

func TestSet_UnknownContentType(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	set, err := codec.NewSet[int](tally{}, codec.MsgPack[int]())
	is.NoErr(err)
	got, err := set.Decode("application/xml", []byte("<n>7</n>"))

	var unknown *codec.UnknownContentTypeError
	is.True(errors.As(err, &unknown))
	is.Equal(unknown.ContentType, "application/xml")
	is.Equal(unknown.Known, []string{"Text/X-Tally; base=1", "application/msgpack", "application/json"})
	is.Equal(got, 0)
	is.Equal(err.Error(), `codec: decode int from "application/xml": unknown content type "application/xml"; `+
		"known are Text/X-Tally; base=1, application/msgpack, application/json")
}

func TestSet_UnknownContentTypeNamesPlainTextWhereItIsRead(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, err := codec.Set[string]{}.Decode("application/xml\n"+strings.Repeat("x", 300), nil)
	var unknown *codec.UnknownContentTypeError
	is.True(errors.As(err, &unknown))
	is.Equal(unknown.Known, []string{"application/json", "application/msgpack", "text/plain"})
	is.True(!strings.Contains(err.Error(), "\n"))
	is.True(strings.Contains(err.Error(), `xxx"...`)) // cut
}

func TestNewSet_Refuses(t *testing.T) {
	t.Parallel()
	var nilPointer *tally
	named := func(contentType string) codec.Codec[int] { return tally{contentType: contentType} }
	for _, tt := range []struct {
		name   string
		codecs []codec.Codec[int]
		want   string
	}{
		{"a nil codec", []codec.Codec[int]{nil}, "codec: codec 1 of 1 for int: it is nil"},
		{"a nil pointer", []codec.Codec[int]{nilPointer}, "codec: codec 1 of 1 for int: it is nil"},
		{"the same codec twice", []codec.Codec[int]{codec.JSON[int](), codec.JSON[int](codec.Strict())},
			`codec: codec 2 of 2 for int: content type "application/json" is taken by a codec listed before`},
		{"the same content type but for its writing", []codec.Codec[int]{named("a/b"), named("A/B; c=d")},
			`codec: codec 2 of 2 for int: content type "a/b" is taken by a codec listed before`},
		{"an empty content type", []codec.Codec[int]{named(" ")}, "codec: codec 1 of 1 for int: the content type is empty"},
		{"a parameter alone", []codec.Codec[int]{named("; a=b")}, "codec: codec 1 of 1 for int: the content type is empty"},
		{"NUL", []codec.Codec[int]{named("a/b\x00")},
			`codec: codec 1 of 1 for int: the content type "a/b\x00" has control characters`},
		{"a line break", []codec.Codec[int]{named("a/b\r\n")},
			`codec: codec 1 of 1 for int: the content type "a/b\r\n" has control characters`},
		{"broken UTF-8", []codec.Codec[int]{named("a/\xff")}, "codec: codec 1 of 1 for int: the content type is not valid UTF-8"},
		{"256 bytes", []codec.Codec[int]{named(strings.Repeat("a", 256))},
			"codec: codec 1 of 1 for int: the content type has 256 bytes, more than 255"},
		{"a codec that panics", []codec.Codec[int]{anonymous{}},
			"codec: codec 1 of 1 for int: panic with a value of type string"},
		{"all at once", []codec.Codec[int]{nil, tally{}, named("text/x-tally")},
			"codec: codec 1 of 3 for int: it is nil\n" +
				`codec: codec 3 of 3 for int: content type "text/x-tally" is taken by a codec listed before`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			_, err := codec.NewSet(tt.codecs...)
			is.True(err != nil)
			is.Equal(err.Error(), tt.want)
		})
	}
}

func TestNewSet_AllowsALongContentType(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, err := codec.NewSet[int](tally{contentType: strings.Repeat("a", 255)})
	is.NoErr(err)
}

type anonymous struct{ tally }

func (anonymous) ContentType() string { panic("no name") }

func TestSet_FailingCodec(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pencil")
	for _, tt := range []struct {
		name    string
		fail    func() error
		text    string
		is      error
		asPanic bool
	}{
		{"an error of its own, by its own text", func() error { return fmt.Errorf("tally: %w", broken) },
			"tally: broken pencil", broken, false},
		{"a panic", func() error { panic("broken pencil") }, "panic with a value of type string", nil, true},
		{"a panic with an error", func() error { panic(broken) }, "panic with a value of type *errors.errorString", broken, true},
		{"an EncodeError of its own", func() error { return &codec.EncodeError{Type: "pencil", Err: broken} },
			"broken pencil", broken, false},
		{"a DecodeError of its own", func() error { return &codec.DecodeError{Type: "pencil", Err: broken} },
			"broken pencil", broken, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			set, err := codec.NewSet[int](tally{
				appended: func([]byte) ([]byte, error) { return nil, tt.fail() },
				decoded:  tt.fail,
			})
			is.NoErr(err)

			out, err := set.Append([]byte("before"), 1)
			var encode *codec.EncodeError
			is.True(errors.As(err, &encode))
			is.Equal(encode.Type, "int")
			is.True(strings.HasSuffix(err.Error(), tt.text))
			is.Equal(string(out), "before")
			is.True(tt.is == nil || errors.Is(err, tt.is))

			v, err := set.Decode("text/x-tally", []byte("|||"))
			var decode *codec.DecodeError
			is.True(errors.As(err, &decode))
			is.Equal(decode.Type, "int")
			is.Equal(decode.ContentType, "text/x-tally")
			is.True(strings.HasSuffix(err.Error(), tt.text))
			is.Equal(v, 0) // not what the codec left there
			is.True(tt.is == nil || errors.Is(err, tt.is))

			var p *codec.PanicError
			is.Equal(errors.As(err, &p), tt.asPanic)
		})
	}
}

func TestSet_KeepsTheContentTypeOfTheMessageInErrors(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, err := codec.Set[line]{}.Decode("Application/Vnd.Orders+JSON; v=2", []byte("{"))
	is.Equal(err.Error(), `codec: decode codec_test.line from "Application/Vnd.Orders+JSON; v=2": `+
		"the JSON ends too early, at offset 1")
	var inner *codec.DecodeError
	is.True(errors.As(errors.Unwrap(err), &inner) == false) // one layer, not two
}

func TestSet_ZeroIsJSON(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var set codec.Set[line]
	is.Equal(set.ContentType(), "application/json")
	data, err := set.Append(nil, line{SKU: "x"})
	is.NoErr(err)
	got, err := set.Decode(set.ContentType(), data)
	is.NoErr(err)
	is.Equal(got, line{SKU: "x"})
}

func TestSet_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	set, err := codec.NewSet(codec.MsgPack[kinds]())
	is.NoErr(err)
	want := filled()
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				v := want
				v.ID = int64(i)
				data, err := set.Append(nil, v)
				if err == nil {
					v, err = set.Decode("application/msgpack", data)
				}
				if err == nil && v.ID != int64(i) {
					err = fmt.Errorf("%d became %d", i, v.ID)
				}
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	is.NoErr(<-failed)
}
