package codec_test

import (
	"testing"

	"github.com/letterbox-go/letterbox/codec"
)

func BenchmarkEncode(b *testing.B) {
	value := filled()
	for _, bm := range benchmarks() {
		b.Run("codec="+bm.name, func(b *testing.B) {
			var data []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if data, err = bm.set.Append(data[:0], value); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(data)))
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, bm := range benchmarks() {
		b.Run("codec="+bm.name, func(b *testing.B) {
			data, err := bm.set.Append(nil, filled())
			if err != nil {
				b.Fatal(err)
			}
			contentType := bm.set.ContentType()
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bm.set.Decode(contentType, data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type benchmark struct {
	name string
	set  codec.Set[kinds]
}

func benchmarks() []benchmark {
	var all []benchmark
	for _, of := range []struct {
		name  string
		codec codec.Codec[kinds]
	}{
		{"json", codec.JSON[kinds]()},
		{"json-strict", codec.JSON[kinds](codec.Strict())},
		{"msgpack", codec.MsgPack[kinds]()},
	} {
		set, err := codec.NewSet(of.codec)
		if err != nil {
			panic(err)
		}
		all = append(all, benchmark{of.name, set})
	}
	return all
}
