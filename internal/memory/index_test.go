package memory

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/matryer/is"
)

func TestIndex_StaysSortedUnderAnyOrderOfChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		at   func(r *rand.Rand, i int) int64
	}{
		{"ascending", func(_ *rand.Rand, i int) int64 { return int64(i) }},
		{"descending", func(_ *rand.Rand, i int) int64 { return -int64(i) }},
		{"all at once", func(*rand.Rand, int) int64 { return 7 }},
		{"random", func(r *rand.Rand, _ int) int64 { return r.Int64N(1000) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			r := rand.New(rand.NewPCG(1, 2))
			var x index
			var want []key // the same set, sorted the plain way
			for i := range 5000 {
				k := key{tt.at(r, i), int64(i)}
				x.insert(k)
				want = append(want, k)
				switch { // every third change takes one out, the first one or any
				case i%6 == 2:
					gone := slices.Index(want, slices.MinFunc(want, compareKeys))
					x.remove(want[gone])
					want = slices.Delete(want, gone, gone+1)
				case i%6 == 5:
					gone := r.IntN(len(want))
					x.remove(want[gone])
					x.remove(want[gone]) // a second time does nothing
					want = slices.Delete(want, gone, gone+1)
				}
			}
			slices.SortFunc(want, compareKeys)

			is.Equal(slices.Collect(x.from(math.MinInt64)), want)
			middle := want[len(want)/2].at
			first := slices.IndexFunc(want, func(k key) bool { return k.at >= middle })
			is.Equal(slices.Collect(x.from(middle)), want[first:])
			for _, c := range x.chunks {
				is.True(len(c) > 0 && len(c) <= chunkSize)
			}

			for _, k := range want {
				x.remove(k)
			}
			_, ok := x.first(math.MinInt64)
			is.True(!ok)
			is.Equal(len(x.chunks), 0)
		})
	}
}
