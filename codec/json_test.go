package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
)

func TestJSON_ReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := codec.JSON[kinds]()
	want := filled()

	data, err := c.Append(nil, want)
	is.NoErr(err)
	var got kinds
	is.NoErr(c.Decode(data, &got))

	is.Equal(c.ContentType(), "application/json")
	is.True(got.At.Equal(want.At))
	got.At = want.At
	is.Equal(got, want)
}

func TestJSON_Writes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		got  func() ([]byte, error)
		want string
	}{
		{"no newline after the value", appendJSON(1), `1`},
		{"HTML as it is", appendJSON("<a href='x'>&</a>"), `"<a href='x'>&</a>"`},
		{"nil", appendJSON[any](nil), `null`},
		{"a nil pointer", appendJSON[*line](nil), `null`},
		{"a value behind a pointer", appendJSON(&line{SKU: "x"}), `{"sku":"x","count":0}`},
		{"the largest integers", appendJSON([]int64{math.MaxInt64, math.MinInt64}), `[9223372036854775807,-9223372036854775808]`},
		{"maps in the order of their keys", appendJSON(map[string]int{"b": 2, "a": 1}), `{"a":1,"b":2}`},
		{"raw JSON without escapes either", appendJSON(json.RawMessage(`{"a": "<"}`)), `{"a":"<"}`},
		{"by a method with a pointer receiver", appendJSON(shouting("hi")), `"HI"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			got, err := tt.got()
			is.NoErr(err)
			is.Equal(string(got), tt.want)
		})
	}
}

func appendJSON[T any](v T) func() ([]byte, error) {
	return func() ([]byte, error) { return codec.JSON[T]().Append(nil, v) }
}

type shouting string

func (s *shouting) MarshalJSON() ([]byte, error) { return json.Marshal(strings.ToUpper(string(*s))) }

func TestJSON_LargeIntegersAreExact(t *testing.T) {
	t.Parallel()

	t.Run("in a field of their type", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		var v struct{ ID int64 }
		is.NoErr(codec.JSON[struct{ ID int64 }]().Decode([]byte(`{"ID":9007199254740993}`), &v))
		is.Equal(v.ID, int64(9007199254740993)) // 2^53 + 1, which no float64 holds
	})
	t.Run("in an interface with UseNumber", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		var v any
		is.NoErr(codec.JSON[any](codec.UseNumber()).Decode([]byte(`9007199254740993`), &v))
		is.Equal(v, json.Number("9007199254740993"))
	})
}

func TestJSON_UnknownFields(t *testing.T) {
	t.Parallel()
	data := []byte(`{"sku":"x","colour":"red"}`)

	t.Run("are passed over", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		var v line
		is.NoErr(codec.JSON[line]().Decode(data, &v))
		is.Equal(v, line{SKU: "x"})
	})
	t.Run("are an error under Strict, which does not name them", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		var v line
		err := codec.JSON[line](codec.Strict()).Decode(data, &v)
		is.Equal(err.Error(), `codec: decode codec_test.line from "application/json": a field that the type does not have`)
	})
}

func TestJSON_Refuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing at all", decodeJSON[any](""), "the payload is empty"},
		{"nothing but space", decodeJSON[any](" "), "the JSON ends too early, at offset 1"},
		{"half a value", decodeJSON[any](`{"a":`), "the JSON ends too early, at offset 5"},
		{"something else", decodeJSON[any](`hello`), "invalid JSON, at offset 1"},
		{"data after the value", decodeJSON[any](`{} {}`), "invalid JSON, at offset 4"},
		{"data after the value, strictly", decodeJSON[any](`{} {}`, codec.Strict()), "data after the JSON value, at offset 2"},
		{"nesting without end", decodeJSON[any](deep), "the value is nested deeper than 10000, at offset 10001"},
		{"a kind that does not fit", decodeJSON[kinds](`{"id":"seven"}`),
			"a string cannot be read into field id of type int64, at offset 13"},
		{"a number that does not fit", decodeJSON[kinds](`{"lines":[{"count":70000}]}`),
			"a number cannot be read into field lines.count of type uint16, at offset 24"},
		{"broken base64", decodeJSON[kinds](`{"blob":"&&&&"}`), "illegal base64 data at input byte 0"},
		{"a broken time", decodeJSON[kinds](`{"at":"yesterday"}`),
			`a time that is not in the layout "2006-01-02T15:04:05Z07:00"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			var e *codec.DecodeError
			is.True(errors.As(tt.err, &e))
			is.Equal(e.Err.Error(), tt.want)
			is.Equal(e.ContentType, "application/json")
		})
	}
}

func decodeJSON[T any](data string, opts ...codec.JSONOption) error {
	var v T
	return codec.JSON[T](opts...).Decode([]byte(data), &v)
}

func TestJSON_CannotWrite(t *testing.T) {
	t.Parallel()
	type loop struct{ Next *loop }
	round := &loop{}
	round.Next = round
	for _, tt := range []struct {
		name string
		got  func() ([]byte, error)
		want string
	}{
		{"a channel", appendJSON(make(chan int)), "codec: encode chan int: JSON cannot express the type chan int"},
		{"a function in a field", appendJSON(struct{ F func() }{}),
			"codec: encode struct { F func() }: JSON cannot express the type func()"},
		{"NaN", appendJSON(math.NaN()), "codec: encode float64: a number that JSON cannot express"},
		{"a value that contains itself", appendJSON(round), "codec: encode *codec_test.loop: the value contains itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			out, err := tt.got()
			is.Equal(err.Error(), tt.want)
			is.Equal(out, nil)
		})
	}
}

func TestJSON_LeavesTheBufferAloneOnError(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	dst := append(make([]byte, 0, 64), "before"...)
	out, err := codec.JSON[any]().Append(dst, []any{1, make(chan int)})
	is.True(err != nil)
	is.Equal(string(out), "before")

	out, err = codec.JSON[any]().Append(out, 1) // and can be used on
	is.NoErr(err)
	is.Equal(string(out), "before1")
}

// A type's own methods may fail in any way they like.
type moody struct{ mood string }

var errMood = errors.New("mood")

func (m moody) MarshalJSON() ([]byte, error) { return nil, m.act() }

func (m *moody) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &m.mood); err != nil {
		return err
	}
	return m.act()
}

func (m moody) act() error {
	switch m.mood {
	case "panic":
		panic("in a " + m.mood)
	case "crash":
		return fmt.Errorf("%s", []string{}[len(m.mood)])
	}
	return fmt.Errorf("in a bad %s: %w", m.mood, errMood)
}

func TestJSON_MethodsOfTheType(t *testing.T) {
	t.Parallel()

	t.Run("their errors stay in reach, their texts do not show", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		_, err := codec.JSON[moody]().Append(nil, moody{"temper"})
		is.True(errors.Is(err, errMood))
		is.Equal(err.Error(), "codec: encode codec_test.moody: the marshaler of *codec_test.moody failed: "+
			"the text is withheld, since it may quote the value (*fmt.wrapError)")

		err = decodeJSON[moody](`"temper"`)
		is.True(errors.Is(err, errMood))
		is.Equal(err.Error(), `codec: decode codec_test.moody from "application/json": `+
			"an error whose text is withheld, since it may quote the payload (*fmt.wrapError)")
	})
	t.Run("their panics are errors", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		_, err := codec.JSON[moody]().Append(nil, moody{"panic"})
		var p *codec.PanicError
		is.True(errors.As(err, &p))
		is.Equal(p.Value, "in a panic")
		is.True(strings.Contains(string(p.Stack), "moody.act"))
		is.Equal(err.Error(), "codec: encode codec_test.moody: panic with a value of type string")

		err = decodeJSON[moody](`"crash"`)
		var r interface{ RuntimeError() }
		is.True(errors.As(err, &r))
		is.Equal(err.Error(), `codec: decode codec_test.moody from "application/json": `+
			"panic with a value of type runtime.boundsError")
	})
}
