package codec_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
	"github.com/vmihailenco/msgpack/v5"
)

// What may show in no text: a name, in the middle of other things, and a number.
const (
	secret       = "Zq7Xw"
	secretNumber = "86420975318642"
)

func TestErrors_QuoteNothingOfThePayload(t *testing.T) {
	t.Parallel()
	type holder struct {
		S  string         `json:"s"`
		I  int8           `json:"i"`
		D  time.Time      `json:"d"`
		B  []byte         `json:"b"`
		N  json.Number    `json:"n"`
		Q  int64          `json:"q,string"`
		A  netip.Addr     `json:"a"`
		G  *big.Int       `json:"g"`
		M  map[string]int `json:"m"`
		IM map[int]string `json:"im"`
		P  parsed         `json:"p"`
	}
	const asJSON, asMsgPack = "application/json", "application/msgpack"
	pack := func(v any) string {
		data, err := msgpack.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(data)
	}
	for _, tt := range []struct {
		name        string
		contentType string
		data        string
	}{
		{"not JSON", asJSON, secret},
		{"JSON that breaks off", asJSON, `{"s":"` + secret},
		{"JSON with more behind it", asJSON, `{} ` + secret},
		{"a string for a number", asJSON, `{"i":"` + secret + `"}`},
		{"a number that is too large", asJSON, `{"i":` + secretNumber + `}`},
		{"a number that is far too large", asJSON, `{"i":` + secretNumber + `e999}`},
		{"a string for a time", asJSON, `{"d":"` + secret + `"}`},
		{"a number for a time", asJSON, `{"d":` + secretNumber + `}`},
		{"a string for bytes", asJSON, `{"b":"` + secret + `#"}`},
		{"a string for a json.Number", asJSON, `{"n":"` + secret + `"}`},
		{"a string for a number in a string", asJSON, `{"q":"` + secret + `"}`},
		{"a number for a number in a string", asJSON, `{"q":` + secretNumber + `}`},
		{"a string for an address", asJSON, `{"a":"` + secret + `"}`},
		{"a string for a large number", asJSON, `{"g":"` + secret + `"}`},
		{"the key of a map", asJSON, `{"m":{"` + secret + `":"x"}}`},
		{"the key of a map of integers", asJSON, `{"im":{"` + secret + `":"x"}}`},
		{"the key of a map of integers, too large", asJSON, `{"im":{"` + secretNumber + secretNumber + `":"x"}}`},
		{"an unknown field", asJSON, `{"` + secret + `":1}`},
		{"a method that quotes", asJSON, `{"p":"` + secret + `"}`},
		{"a method that panics", asJSON, `{"p":"panic ` + secret + `"}`},
		{"without content type", "", secret},
		{"not MessagePack", asMsgPack, secret},
		{"a packed string for a number", asMsgPack, pack(map[string]any{"i": secret})},
		{"a packed number that is too large", asMsgPack, pack(map[string]any{"i": int64(86420975318642)})},
		{"a packed string for a time", asMsgPack, pack(map[string]any{"d": secret})},
		{"a packed number for a time", asMsgPack, pack(map[string]any{"d": int64(86420975318642)})},
		{"a packed string for an address", asMsgPack, pack(map[string]any{"a": secret})},
		{"a packed string for a large number", asMsgPack, pack(map[string]any{"g": secret})},
		{"a packed string for a map", asMsgPack, pack(map[string]any{"m": secret})},
		{"the packed key of a map", asMsgPack, pack(map[string]any{"m": map[string]any{secret: "x"}})},
		{"a packed unknown field", asMsgPack, pack(map[string]any{secret: 1})},
		{"a packed method that quotes", asMsgPack, pack(map[string]any{"p": secret})},
		{"a packed method that panics", asMsgPack, pack(map[string]any{"p": "panic " + secret})},
		{"text for a struct", "text/plain", secret},
		{"an unknown content type", "application/xml", secret},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			set, err := codec.NewSet(codec.JSON[holder](codec.Strict()), codec.MsgPack[holder](codec.Strict()))
			is.NoErr(err)
			_, err = set.Decode(tt.contentType, []byte(tt.data))
			is.True(err != nil)
			is.True(strings.HasPrefix(err.Error(), "codec: decode codec_test.holder from "))
			for ; err != nil; err = errors.Unwrap(err) {
				text := fmt.Sprintf("%v %+v %s %q", err, err, err, err)
				is.True(!strings.Contains(text, secret))
				is.True(!strings.Contains(text, secretNumber))
				is.True(!strings.Contains(text, "'Z'")) // the first character of it
			}
		})
	}
}

// parsed quotes what it gets, as many types do.
type parsed string

func (p *parsed) UnmarshalText(text []byte) error {
	if strings.HasPrefix(string(text), "panic") {
		panic(string(text))
	}
	return fmt.Errorf("cannot parse %q", text)
}

func TestErrors_QuoteNothingOfTheValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		got  func() ([]byte, error)
	}{
		{"a method that quotes", appendJSON(quoting(secret))},
		{"an invalid json.Number", appendJSON(json.Number(secret))},
		{"raw JSON that is none", appendJSON(json.RawMessage(secret))},
		{"a packed method that quotes", appendMsgPack(failing(secret))},
		{"raw MessagePack that is none", appendMsgPack(msgpack.RawMessage(secret))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			_, err := tt.got()
			is.True(err != nil)
			for ; err != nil; err = errors.Unwrap(err) {
				is.True(!strings.Contains(err.Error(), secret))
				is.True(!strings.Contains(err.Error(), "'Z'"))
			}
		})
	}
}

type quoting string

func (q quoting) MarshalJSON() ([]byte, error) { return nil, fmt.Errorf("cannot write %q", string(q)) }

func TestErrors_OriginalsStayInReach(t *testing.T) {
	t.Parallel()
	is := is.New(t)

	var syntax *json.SyntaxError
	is.True(errors.As(decodeJSON[any](`x`), &syntax))
	is.Equal(syntax.Offset, int64(1))

	var mismatch *json.UnmarshalTypeError
	is.True(errors.As(decodeJSON[int8](`300`), &mismatch))
	is.Equal(mismatch.Value, "number 300")

	var instant *time.ParseError
	is.True(errors.As(decodeMsgPack[time.Time]("\xa1x"), &instant))
	is.Equal(instant.Value, "x")

	_, err := appendJSON(quoting("x"))()
	var marshaler *json.MarshalerError
	is.True(errors.As(err, &marshaler))
}

func TestErrors_OfForeignCodecsAreRewrittenWhereTheyAreKnownToQuote(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	set, err := codec.NewSet[int](tally{decoded: func() error {
		_, err := strconv.Atoi(secret)
		return fmt.Errorf("tally: %w", err)
	}})
	is.NoErr(err)
	_, err = set.Decode("text/x-tally", nil)
	is.Equal(err.Error(), `codec: decode int from "text/x-tally": strconv.Atoi failed: invalid syntax`)
	is.True(errors.Is(err, strconv.ErrSyntax))
}
