package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/letterbox-go/letterbox/codec"
)

// The seeds are in testdata/fuzz, one file each. What holds for any payload:
//
//   - it decodes, or gives a *DecodeError: no panic, no memory beyond its size, no endless stack;
//   - it is left as it was;
//   - what it decodes to can be written by the same codec, and read again.

func FuzzJSONDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecode(t, codec.JSON[any](), data)
		checkDecode(t, codec.JSON[any](codec.Strict(), codec.UseNumber()), data)
		checkDecode(t, codec.JSON[kinds](), data)
		checkDecode(t, codec.JSON[map[string]kinds](codec.Strict()), data)
	})
}

func FuzzMsgPackDecode(f *testing.F) {
	type M map[string]M
	type S []S
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecode(t, codec.MsgPack[any](), data)
		checkDecode(t, codec.MsgPack[kinds](), data)
		checkDecode(t, codec.MsgPack[kinds](codec.Strict()), data)
		checkDecode(t, codec.MsgPack[map[string]any](), data)
		checkDecode(t, codec.MsgPack[map[int]string](), data)
		checkDecode(t, codec.MsgPack[[]line](), data)
		checkDecode(t, codec.MsgPack[M](), data)
		checkDecode(t, codec.MsgPack[S](), data)
	})
}

func FuzzSetDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		checkSetDecode[any](t, contentType, data)
		checkSetDecode[kinds](t, contentType, data)
		checkSetDecode[string](t, contentType, data)
		checkSetDecode[int](t, contentType, data)
		checkSetDecode(t, contentType, data, codec.Bytes())
	})
}

func checkDecode[T any](t *testing.T, c codec.Codec[T], data []byte) {
	t.Helper()
	before := bytes.Clone(data)
	var v T
	err := c.Decode(data, &v)
	if !bytes.Equal(data, before) {
		t.Fatalf("%T changed its input", c)
	}
	if err != nil {
		checkDecodeError(t, err)
		return
	}
	again, err := c.Append(nil, v)
	if err != nil {
		t.Fatalf("%T cannot write what it read: %v", c, err)
	}
	var w T
	if err := c.Decode(again, &w); err != nil {
		t.Fatalf("%T cannot read what it wrote: %v: %q", c, err, again)
	}
}

func checkSetDecode[T any](t *testing.T, contentType string, data []byte, codecs ...codec.Codec[T]) {
	t.Helper()
	set, err := codec.NewSet(codecs...)
	if err != nil {
		t.Fatal(err)
	}
	v, err := set.Decode(contentType, data)
	if err != nil {
		checkDecodeError(t, err)
		return
	}
	var e *codec.EncodeError // as for a map[any]any out of MessagePack, which JSON cannot write
	if _, err := set.Append(nil, v); err != nil && !errors.As(err, &e) {
		t.Fatalf("%T is not an *EncodeError", err)
	}
}

func checkDecodeError(t *testing.T, err error) {
	t.Helper()
	var e *codec.DecodeError
	if !errors.As(err, &e) || e.Type == "" || err.Error() == "" {
		t.Fatalf("%T is not a *DecodeError", err)
	}
}
