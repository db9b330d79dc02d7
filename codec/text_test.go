package codec_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
)

func TestSet_PlainText(t *testing.T) {
	t.Parallel()
	type name string
	type blob []byte
	addr := netip.MustParseAddr("10.0.0.1")
	text := "10.0.0.1"
	for _, tt := range []struct {
		name string
		got  func() (any, error)
		want any
	}{
		{"a string", decodeText[string]("x ü"), "x ü"},
		{"an empty string", decodeText[string](""), ""},
		{"what looks like JSON stays as it is", decodeText[string](`"x"`), `"x"`},
		{"a named string", decodeText[name]("x"), name("x")},
		{"bytes", decodeText[[]byte]("x\xff"), []byte("x\xff")},
		{"named bytes", decodeText[blob](""), blob{}},
		{"any", decodeText[any]("x"), "x"},
		{"a TextUnmarshaler", decodeText[netip.Addr](text), addr},
		{"a pointer to a TextUnmarshaler", decodeText[*netip.Addr](text), &addr},
		{"a pointer to a string", decodeText[*string](text), &text},
		{"a time", decodeText[time.Time]("2026-02-03T04:05:06Z"), time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			got, err := tt.got()
			is.NoErr(err)
			is.Equal(got, tt.want)
		})
	}
}

func decodeText[T any](data string) func() (any, error) {
	return func() (any, error) { return codec.Set[T]{}.Decode("text/plain; charset=utf-8", []byte(data)) }
}

func TestSet_PlainTextRefuses(t *testing.T) {
	t.Parallel()
	const needs = "plain text needs a string, a []byte, an encoding.TextUnmarshaler or an any"
	for _, tt := range []struct {
		name string
		got  func() (any, error)
		want string
	}{
		{"a number", decodeText[int]("7"), needs},
		{"a struct", decodeText[line]("{}"), needs},
		{"a slice of strings", decodeText[[]string]("a"), needs},
		{"an interface with methods", decodeText[error]("a"), needs},
		{"text that is not UTF-8", decodeText[string]("gr\xfc\xdfe"), "the text is not valid UTF-8"},
		{"text that the type refuses, without quoting it", decodeText[netip.Addr]("secret"),
			"an error whose text is withheld, since it may quote the payload (netip.parseAddrError)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			_, err := tt.got()
			var e *codec.DecodeError
			is.True(errors.As(err, &e))
			is.Equal(e.Err.Error(), tt.want)
		})
	}
}
