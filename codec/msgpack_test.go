package codec_test

import (
	"errors"
	"math"
	"math/big"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
	"github.com/vmihailenco/msgpack/v5"
)

func TestMsgPack_ReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := codec.MsgPack[kinds]()
	want := filled()

	data, err := c.Append(nil, want)
	is.NoErr(err)
	var got kinds
	is.NoErr(c.Decode(data, &got))

	is.Equal(c.ContentType(), "application/msgpack")
	is.True(got.At.Equal(want.At))
	is.True(got.Parent.At.IsZero())
	got.At, got.Parent.At = want.At, want.Parent.At
	is.Equal(got, want)
}

func TestMsgPack_NilPointers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := codec.MsgPack[*line]()
	data, err := c.Append(nil, nil)
	is.NoErr(err)
	is.Equal(string(data), "\xc0")
	var got *line
	is.NoErr(c.Decode(data, &got))
	is.Equal(got, nil)

	data, err = c.Append(nil, &line{SKU: "x"})
	is.NoErr(err)
	is.NoErr(c.Decode(data, &got))
	is.Equal(got, &line{SKU: "x"})
}

func TestMsgPack_NamesFields(t *testing.T) {
	t.Parallel()
	type order struct {
		Both    int `json:"json" msgpack:"msgpack"`
		JSON    int `json:"json_only,omitempty"`
		DB      int `db:"db_only"`
		Plain   int
		Skipped int `json:"-"`
	}
	for _, tt := range []struct {
		name string
		opts []codec.MsgPackOption
		want map[string]int8
	}{
		{"as JSON does, where msgpack tags do not say otherwise", nil,
			map[string]int8{"msgpack": 1, "json_only": 2, "DB": 3, "Plain": 4}},
		{"by msgpack tags only", []codec.MsgPackOption{codec.Tag("")},
			map[string]int8{"msgpack": 1, "JSON": 2, "DB": 3, "Plain": 4, "Skipped": 5}},
		{"by another tag; the last one counts", []codec.MsgPackOption{codec.Tag("json"), codec.Tag("db")},
			map[string]int8{"msgpack": 1, "JSON": 2, "db_only": 3, "Plain": 4, "Skipped": 5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			data, err := codec.MsgPack[order](tt.opts...).Append(nil, order{1, 2, 3, 4, 5})
			is.NoErr(err)
			var got map[string]int8
			is.NoErr(codec.MsgPack[map[string]int8]().Decode(data, &got))
			is.Equal(got, tt.want)
		})
	}
}

func TestMsgPack_EmbeddedStructs(t *testing.T) {
	t.Parallel()
	type Base struct{ ID int64 }
	type outer struct {
		*Base
		Name string
	}

	t.Run("are inlined", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		data, err := codec.MsgPack[outer]().Append(nil, outer{Base: &Base{ID: 7}, Name: "x"})
		is.NoErr(err)
		is.Equal(string(data), "\x82\xa2ID\x07\xa4Name\xa1x")
		var got outer
		is.NoErr(codec.MsgPack[outer]().Decode(data, &got))
		is.Equal(got, outer{Base: &Base{ID: 7}, Name: "x"})
	})
	t.Run("come back as zero where they were nil", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		data, err := codec.MsgPack[outer]().Append(nil, outer{Name: "x"})
		is.NoErr(err)
		var got outer
		is.NoErr(codec.MsgPack[outer]().Decode(data, &got))
		is.Equal(got, outer{Base: &Base{}, Name: "x"})
	})
}

func TestMsgPack_IntegersFitOrFail(t *testing.T) {
	t.Parallel()
	type nested struct {
		Rows []struct {
			N *int8 `json:"n"`
		} `json:"rows"`
	}
	type recursive struct {
		N    int8
		Next *recursive
	}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"the largest int64", recode[int64](int64(math.MaxInt64)), ""},
		{"the smallest int64", recode[int64](int64(math.MinInt64)), ""},
		{"the largest uint64", recode[uint64](uint64(math.MaxUint64)), ""},
		{"a byte's worth", recode[int8](-128), ""},
		{"one less than a byte's worth", recode[int8](-129), "an integer that does not fit into type int8, at offset 0"},
		{"too large for a uint16", recode[uint16](65536), "an integer that does not fit into type uint16, at offset 0"},
		{"too large for an int64", recode[int64](uint64(1 << 63)), "an integer that does not fit into type int64, at offset 0"},
		{"too large to become a float", recode[float64](uint64(1 << 63)),
			"an integer that does not fit into type float64, at offset 0"},
		{"negative for a uint", recode[uint](-1), "an integer that does not fit into type uint, at offset 0"},
		{"negative in one byte and well", recode[float32](-1), ""},
		{"of a named type", recode[time.Duration](uint64(math.MaxUint64)),
			"an integer that does not fit into type time.Duration, at offset 0"},
		{"in a slice", recode[[]int8]([]int{1, 2, 300}), "an integer that does not fit into type int8, at offset 3"},
		{"in an array", recode[[2]int8]([]int{1, 300}), "an integer that does not fit into type int8, at offset 2"},
		{"as the key of a map", recode[map[uint8]string](map[int]string{256: "x"}),
			"an integer that does not fit into type uint8, at offset 1"},
		{"as the value of a map", recode[map[string]uint8](map[string]int{"x": 256}),
			"an integer that does not fit into type uint8, at offset 3"},
		{"deep in a struct", recode[nested](map[string]any{"rows": []any{map[string]any{"n": 128}}}),
			"an integer that does not fit into type int8, at offset 10"},
		{"in a type that contains itself", recode[recursive](map[string]any{"Next": map[string]any{"N": 128}}),
			"an integer that does not fit into type int8, at offset 9"},
		{"in an embedded struct", recode[kinds](map[string]any{"version": uint64(1 << 63)}),
			"an integer that does not fit into type int, at offset 9"},
		{"in a field that the type does not have", recode[line](map[string]any{"colour": uint64(math.MaxUint64)}), ""},
		{"nil for an integer", recode[int8](nil), ""},
		{"after a nil map", recode[map[string]map[string]int8](map[string]any{"a": nil}), ""},
		{"in an interface", recode[any](uint64(math.MaxUint64)), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			if tt.want == "" {
				is.NoErr(tt.err)
				return
			}
			var e *codec.DecodeError
			is.True(errors.As(tt.err, &e))
			is.Equal(e.Err.Error(), tt.want)
		})
	}
}

// Where the library's choice of a field is not certain, nothing is refused that it would have read.
func TestMsgPack_IntegersAreNotCheckedWhereFieldsAreUncertain(t *testing.T) {
	t.Parallel()
	type array struct {
		//lint:ignore U1000 it tells the library what to do
		_msgpack struct{} `msgpack:",as_array"`
		N        int8
	}
	type alias struct {
		N int8  `msgpack:"n,alias:m"`
		M int64 `msgpack:"o"`
	}
	type Inner struct{ N int8 }
	type outer struct {
		N int64
		Inner
	}
	type custom struct{ A netip.Addr }
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"a struct as an array", recode[array]([]int{300})},
		{"an alias", recode[alias](map[string]int{"o": 300})},
		{"two fields of one name", recode[outer](map[string]int{"N": 300})},
		{"a method of the type", recode[custom](map[string]any{"A": []byte{1, 2, 3, 4}})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			is.NoErr(tt.err)
		})
	}
}

// recode writes v as it is and reads it as a T.
func recode[T any](v any) error {
	data, err := codec.MsgPack[any]().Append(nil, v)
	if err != nil {
		return err
	}
	return decodeMsgPack[T](string(data))
}

func decodeMsgPack[T any](data string, opts ...codec.MsgPackOption) error {
	var v T
	return codec.MsgPack[T](opts...).Decode([]byte(data), &v)
}

func TestMsgPack_WhatAnInterfaceHolds(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 2, 3, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		in   any
		want any
	}{
		{"nil", nil, nil},
		{"small integers", []any{1, -1}, []any{int8(1), int8(-1)}},
		{"larger integers", []any{200, 70_000, uint64(math.MaxUint64), -200},
			[]any{uint8(200), uint32(70_000), uint64(math.MaxUint64), int16(-200)}},
		{"floats", []any{float32(1), 2.0}, []any{float32(1), 2.0}},
		{"strings and bytes", []any{"s", []byte("b")}, []any{"s", []byte("b")}},
		{"a time", noon.Local(), noon.Local()},
		{"a struct", line{SKU: "x"}, map[string]any{"sku": "x", "count": int8(0)}},
		{"a map with strings for keys", map[string]any{"a": map[string]string{"b": "c"}},
			map[string]any{"a": map[string]any{"b": "c"}}},
		{"a map with integers for keys", []any{map[int]string{1: "x"}}, []any{map[any]any{int8(1): "x"}}},
		{"a map with keys of many kinds", []any{map[any]any{"a": 1, true: 2, nil: 3, 1.5: 4}},
			[]any{map[any]any{"a": int8(1), true: int8(2), nil: int8(3), 1.5: int8(4)}}},
		{"an empty map", []any{map[string]int{}}, []any{map[string]any{}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			data, err := codec.MsgPack[any]().Append(nil, tt.in)
			is.NoErr(err)
			var got any
			is.NoErr(codec.MsgPack[any]().Decode(data, &got))
			is.Equal(got, tt.want)
		})
	}
}

func TestMsgPack_Refuses(t *testing.T) {
	t.Parallel()
	type M map[string]M
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing at all", decodeMsgPack[any](""), "the payload is empty"},
		{"half a value", decodeMsgPack[any]("\x92\x91\x01"), "the MessagePack value ends too early, at offset 3"},
		{"less than its head claims", decodeMsgPack[any]("\x92\x01"), "a value claims more than the payload holds, at offset 0"},
		{"half a string", decodeMsgPack[string]("\xa5abc"), "a value claims more than the payload holds, at offset 0"},
		{"data after the value", decodeMsgPack[any]("\xc0\xc0"), "data after the MessagePack value, at offset 1"},
		{"the byte that is never used", decodeMsgPack[any]("\xc1"), "a byte that is not MessagePack, at offset 0"},
		{"JSON", decodeMsgPack[line](`{"sku":"x"}`), "data after the MessagePack value, at offset 1"},
		{"a string where a map is wanted", decodeMsgPack[line]("\xa1x"), "a string cannot be read where a map is wanted"},
		{"a map where a number is wanted", decodeMsgPack[int]("\x80"), "a map cannot be read where an integer is wanted"},
		{"a number where a bool is wanted", decodeMsgPack[bool]("\x2a"), "an integer cannot be read where a bool is wanted"},
		{"a double where a float32 is wanted", decodeMsgPack[float32]("\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
			"a float cannot be read where a number is wanted"},
		{"more elements than an array has", decodeMsgPack[[1]int]("\x92\x01\x02"), "more elements than the Go array has"},
		{"an unknown extension", decodeMsgPack[any]("\xd4\x2a\x00"), "an extension of a type that is not registered"},
		{"an interned string", decodeMsgPack[any]("\xd4\x80\x00"), "an interned string, at offset 0"},
		{"a timestamp of seven bytes", decodeMsgPack[time.Time]("\xc7\x07\xff1234567"),
			"a timestamp of a length that does not exist"},
		{"a broken time", decodeMsgPack[time.Time]("\xa3now"),
			`a time that is not in the layout "2006-01-02T15:04:05.999999999Z07:00"`},
		{"an array as the key of a map", decodeMsgPack[any]("\x81\x90\x01"),
			"the key of a map is itself an array, a map or bytes"},
		{"an unknown field, strictly", decodeMsgPack[line]("\x81\xa3zap\x01", codec.Strict()),
			"a field that the type does not have"},
		{"a map hidden in a timestamp", decodeMsgPack[M]("\xd6\xff\x81\xa1a\xc0"),
			"an extension where another value is wanted, at offset 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			var e *codec.DecodeError
			is.True(errors.As(tt.err, &e))
			is.Equal(e.Err.Error(), tt.want)
			is.Equal(e.ContentType, "application/msgpack")
		})
	}
}

// Not parallel: it looks at the memory of the whole process.
func TestMsgPack_HostileSizesAllocateNothing(t *testing.T) {
	type M map[string]M
	for _, tt := range []struct {
		name   string
		data   string
		decode func(string) error
	}{
		{"an array in an interface", "\xdd\x7f\xff\xff\xff\x00\x00\x00\x00\x00", decodePlain[any]},
		{"an array in a slice of integers", "\xdd\x7f\xff\xff\xff\x00\x00\x00\x00\x00", decodePlain[[]int]},
		{"an array in a slice of structs", "\xdd\x7f\xff\xff\xff\x80\x80\x80\x80\x80", decodePlain[[]kinds]},
		{"an array in a slice of strings", "\xdd\xff\xff\xff\xff\xa0\xa0\xa0\xa0\xa0", decodePlain[[]string]},
		{"an array in a field", "\x81\xa5lines\xdd\x7f\xff\xff\xff\x80", decodePlain[kinds]},
		{"an array that is passed over", "\x81\xa1x\xdd\x7f\xff\xff\xff\x80", decodePlain[line]},
		{"a map in an interface", "\xdf\x7f\xff\xff\xff\xa0\xa0", decodePlain[any]},
		{"a map of interfaces", "\xdf\x7f\xff\xff\xff\xa0\xa0", decodePlain[map[string]any]},
		{"a map of strings", "\xdf\x7f\xff\xff\xff\xa0\xa0", decodePlain[map[string]string]},
		{"a map of integers", "\xdf\xff\xff\xff\xff\x01\x01", decodePlain[map[int]int]},
		{"bytes", "\xc6\x7f\xff\xff\xff\x00", decodePlain[[]byte]},
		{"bytes in an interface", "\xc6\x7f\xff\xff\xff\x00", decodePlain[any]},
		{"a string", "\xdb\x7f\xff\xff\xff\x00", decodePlain[string]},
		{"an extension", "\xc9\x7f\xff\xff\xff\xff\x00", decodePlain[time.Time]},
		{"a map in the body of a timestamp", "\xd7\xff\xdf\x7f\xff\xff\xff\x00\x00\x00", decodePlain[map[string]any]},
		{"a map in the body of another extension", "\xd7\x05\xdf\x7f\xff\xff\xff\x00\x00\x00", decodePlain[map[string]any]},
		{"a map across the body of an extension", "\x82\xa1a\xd4\x05\xdf\xa1b\xa1c", decodePlain[M]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			_ = tt.decode("\xc0") // what is made once for the type
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.decode(tt.data)
			runtime.ReadMemStats(&after)
			is.True(err != nil)
			is.True(after.TotalAlloc-before.TotalAlloc < 64<<10)
		})
	}
}

func decodePlain[T any](data string) error { return decodeMsgPack[T](data) }

func TestMsgPack_HostileDepth(t *testing.T) {
	t.Parallel()
	type S []S
	type M map[string]M
	const levels = 1_000_000

	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"arrays in an interface", decodeMsgPack[any](strings.Repeat("\x91", levels) + "\xc0"),
			"the value is nested deeper than 10000"},
		{"arrays in a slice", decodeMsgPack[S](strings.Repeat("\x91", levels) + "\xc0"), "the value is nested deeper than 10000"},
		{"maps", decodeMsgPack[M](strings.Repeat("\x81\xa1k", levels) + "\xc0"), "the value is nested deeper than 10000"},
		{"arrays that are passed over", decodeMsgPack[line]("\x81\xa1x" + strings.Repeat("\x91", levels) + "\xc0"),
			"the value is nested deeper than 10000"},
		{"arrays in raw bytes of MessagePack", decodeMsgPack[msgpack.RawMessage](strings.Repeat("\x91", levels) + "\xc0"),
			"the value is nested deeper than 10000"},
		// Each value of the flat map is an extension whose body, one byte, starts a map that takes the next key for its
		// own.
		{"maps in the bodies of extensions", decodeMsgPack[M]("\xdf\x00\x0f\x42\x40" + strings.Repeat("\xa1k\xd4\x05\x81", levels)),
			"an extension where another value is wanted, at offset 9"},
		{"as deep as is allowed", decodeMsgPack[any](strings.Repeat("\x91", 10_000) + "\xc0"), ""},
		{"one deeper", decodeMsgPack[any](strings.Repeat("\x91", 10_001) + "\xc0"), "the value is nested deeper than 10000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			if tt.want == "" {
				is.NoErr(tt.err)
				return
			}
			var e *codec.DecodeError
			is.True(errors.As(tt.err, &e))
			is.Equal(e.Err.Error(), tt.want)
		})
	}
}

func TestMsgPack_CannotWrite(t *testing.T) {
	t.Parallel()
	type loop struct{ Next *loop }
	round := &loop{}
	round.Next = round
	var deep any
	for range 10_001 {
		deep = []any{deep}
	}
	for _, tt := range []struct {
		name string
		got  func() ([]byte, error)
		want string
	}{
		{"a channel", appendMsgPack(make(chan int)), "codec: encode chan int: msgpack: Encode(unsupported chan int)"},
		{"a value that contains itself", appendMsgPack(round),
			"codec: encode *codec_test.loop: the value is nested deeper than 10000"},
		{"what it would not read", appendMsgPack(deep), "codec: encode interface {}: what was written cannot be read back " +
			"(does a MarshalMsgpack or EncodeMsgpack method write exactly one value?): the value is nested deeper than 10000"},
		{"two values for one", appendMsgPack(pair{1, 2}), "codec: encode codec_test.pair: what was written cannot be read back " +
			"(does a MarshalMsgpack or EncodeMsgpack method write exactly one value?): data after the MessagePack value, at offset 1"},
		{"raw bytes that are nothing", appendMsgPack(msgpack.RawMessage(nil)),
			"codec: encode msgpack.RawMessage: what was written cannot be read back " +
				"(does a MarshalMsgpack or EncodeMsgpack method write exactly one value?): " +
				"the MessagePack value ends too early, at offset 0"},
		{"an error of a method", appendMsgPack(failing("secret")), "codec: encode codec_test.failing: " +
			"an error whose text is withheld, since it may quote the payload (*errors.errorString)"},
		{"a panic of a method", appendMsgPack(failing("")),
			"codec: encode codec_test.failing: panic with a value of type string"},
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

func appendMsgPack[T any](v T) func() ([]byte, error) {
	return func() ([]byte, error) { return codec.MsgPack[T]().Append(nil, v) }
}

// pair encodes itself as the msgpack library's documentation shows, which is not one value.
type pair struct{ a, b int }

func (p pair) EncodeMsgpack(enc *msgpack.Encoder) error { return enc.EncodeMulti(p.a, p.b) }

type failing string

func (f failing) MarshalMsgpack() ([]byte, error) {
	if f == "" {
		panic("no value")
	}
	return nil, errors.New(string(f))
}

func TestMsgPack_MethodsOfTheType(t *testing.T) {
	t.Parallel()

	t.Run("decode in part", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		err := decodeMsgPack[lazy]("\x92\x01\x02")
		is.Equal(err.Error(), `codec: decode codec_test.lazy from "application/msgpack": data is left over, at offset 1`)
	})
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		err := decodeMsgPack[lazy]("\xc3")
		is.Equal(err.Error(), `codec: decode codec_test.lazy from "application/msgpack": panic with a value of type string`)
	})
	t.Run("are those for binary", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		c := codec.MsgPack[netip.Addr]()
		data, err := c.Append(nil, netip.MustParseAddr("10.0.0.1"))
		is.NoErr(err)
		is.Equal(string(data), "\xc4\x04\x0a\x00\x00\x01")
		var got netip.Addr
		is.NoErr(c.Decode(data, &got))
		is.Equal(got, netip.MustParseAddr("10.0.0.1"))
	})
	t.Run("are those for text where there are none for binary", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		c := codec.MsgPack[*big.Int]()
		data, err := c.Append(nil, big.NewInt(1234))
		is.NoErr(err)
		is.Equal(string(data), "\xc4\x041234")
		var got *big.Int
		is.NoErr(c.Decode(data, &got))
		is.Equal(got, big.NewInt(1234))
	})
}

// An application may have extensions of its own, whose bodies are whatever it likes.
func TestMsgPack_RegisteredExtensions(t *testing.T) {
	is := is.New(t) // not parallel: the registry is global
	msgpack.RegisterExt(77, (*colour)(nil))
	defer msgpack.UnregisterExt(77)

	for _, want := range []colour{{0xdf, 0xff, 0xff}, {1, 2, 3}} { // not MessagePack, and by chance three integers
		c := codec.MsgPack[struct{ C, D *colour }]()
		data, err := c.Append(nil, struct{ C, D *colour }{&want, &want})
		is.NoErr(err)
		var got struct{ C, D *colour }
		is.NoErr(c.Decode(data, &got))
		is.Equal(*got.C, want)
		is.Equal(*got.D, want)
	}
}

type colour [3]byte

func (c *colour) MarshalMsgpack() ([]byte, error) { return c[:], nil }

func (c *colour) UnmarshalMsgpack(b []byte) error {
	copy(c[:], b)
	return nil
}

type lazy struct{}

func (*lazy) DecodeMsgpack(dec *msgpack.Decoder) error {
	if c, _ := dec.PeekCode(); c == 0xc3 {
		panic("true")
	}
	_, err := dec.DecodeArrayLen()
	return err
}

func TestMsgPack_LeavesTheBufferAloneOnError(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	dst := append(make([]byte, 0, 64), "before"...)
	out, err := codec.MsgPack[any]().Append(dst, []any{1, make(chan int)})
	is.True(err != nil)
	is.Equal(string(out), "before")

	out, err = codec.MsgPack[any]().Append(out, 1)
	is.NoErr(err)
	is.Equal(string(out), "before\x01")
}
