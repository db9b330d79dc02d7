package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// fault is one that is planned.
type fault struct {
	kind   kind
	after  time.Duration // the end of the one before it
	lasts  time.Duration
	target int // which process, modulo their number
	number int // of anything else that is to be chosen
}

// lanes is how many faults can be under way at once.
const lanes = 2

// between are the shortest and longest times between two faults of a lane.
const betweenShortest, betweenLongest = 200 * time.Millisecond, 2 * time.Second

// lane yields the faults of a lane without end: all of the kinds in a random order, then all again in another, so that
// none is missing from a run that lasts.
func lane(seed uint64, number int, of []kind) func(yield func(fault) bool) {
	return func(yield func(fault) bool) {
		r := rand.New(rand.NewPCG(seed, uint64(1000+number)))
		for {
			bag := slices.Clone(of)
			r.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
			for _, k := range bag {
				f := fault{
					kind:   k,
					after:  within(r, betweenShortest, betweenLongest),
					lasts:  within(r, k.shortest, k.longest),
					target: r.IntN(1 << 16),
					number: r.IntN(1 << 16),
				}
				if !yield(f) {
					return
				}
			}
		}
	}
}

func within(r *rand.Rand, shortest, longest time.Duration) time.Duration {
	return shortest + time.Duration(r.Int64N(int64(longest-shortest)+1))
}
