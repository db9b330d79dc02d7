package memory

import (
	"cmp"
	"iter"
	"slices"
)

// key is a place in an index: an instant in microseconds, then the row.
type key struct {
	at, id int64
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id))
}

// chunkSize bounds what one insertion or removal has to move.
const chunkSize = 512

// index is a sorted set of keys, in chunks: none empty, none over chunkSize,
// each wholly before the next. A heap would do for the first few rows, but a
// claim with a floor begins in the middle. The zero index is empty.
type index struct {
	chunks [][]key
}

// find is where the first key at or after k is, or would be: past the last
// chunk where there is none.
func (x *index) find(k key) (chunk, pos int, exact bool) {
	chunk, _ = slices.BinarySearchFunc(x.chunks, k, func(c []key, k key) int {
		return compareKeys(c[len(c)-1], k)
	})
	if chunk == len(x.chunks) {
		return chunk, 0, false
	}
	pos, exact = slices.BinarySearchFunc(x.chunks[chunk], k, compareKeys)
	return chunk, pos, exact
}

// insert adds the key, which is not in the index.
func (x *index) insert(k key) {
	chunk, pos, _ := x.find(k)
	if chunk == len(x.chunks) { // after all others, where most keys belong
		if chunk == 0 || len(x.chunks[chunk-1]) == chunkSize {
			x.chunks = append(x.chunks, []key{k})
			return
		}
		chunk--
		pos = len(x.chunks[chunk])
	}
	c := x.chunks[chunk]
	if len(c) == chunkSize {
		// The second half gets memory of its own: the first one grows.
		half := slices.Clone(c[chunkSize/2:])
		c = c[:chunkSize/2]
		x.chunks[chunk] = c
		x.chunks = slices.Insert(x.chunks, chunk+1, half)
		if pos > len(c) {
			chunk, pos = chunk+1, pos-len(c)
		}
	}
	x.chunks[chunk] = slices.Insert(x.chunks[chunk], pos, k)
}

// remove takes the key out; one that is not there is left alone.
func (x *index) remove(k key) {
	chunk, pos, ok := x.find(k)
	if !ok {
		return
	}
	c := x.chunks[chunk]
	switch {
	case len(c) == 1:
		x.chunks = slices.Delete(x.chunks, chunk, chunk+1)
	case pos == 0: // as a claim of the first rows does: nothing moves
		x.chunks[chunk] = c[1:]
	default:
		x.chunks[chunk] = slices.Delete(c, pos, pos+1)
	}
}

// from walks the keys from the first one at or after the instant on. The
// index must not change meanwhile.
func (x *index) from(at int64) iter.Seq[key] {
	return func(yield func(key) bool) {
		chunk, pos, _ := x.find(key{at: at})
		for ; chunk < len(x.chunks); chunk, pos = chunk+1, 0 {
			for _, k := range x.chunks[chunk][pos:] {
				if !yield(k) {
					return
				}
			}
		}
	}
}

// first is the first key at or after the instant.
func (x *index) first(at int64) (k key, ok bool) {
	for k := range x.from(at) {
		return k, true
	}
	return key{}, false
}
