package main

import (
	"slices"
	"testing"

	"github.com/matryer/is"
)

// first are the first faults of a lane.
func first(seed uint64, number, n int) (all []fault) {
	for f := range lane(seed, number, kinds) {
		if all = append(all, f); len(all) == n {
			break
		}
	}
	return all
}

func names(all []fault) (names []string) {
	for _, f := range all {
		names = append(names, f.kind.name)
	}
	return names
}

func TestLane_FollowsFromTheSeed(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	type plain struct {
		name        string
		after, last int64
		a, b        int
	}
	strip := func(all []fault) (out []plain) {
		for _, f := range all {
			out = append(out, plain{f.kind.name, int64(f.after), int64(f.lasts), f.target, f.number})
		}
		return out
	}
	is.Equal(strip(first(7, 0, 100)), strip(first(7, 0, 100)))
	is.True(!slices.Equal(names(first(7, 0, 20)), names(first(8, 0, 20))))
	is.True(!slices.Equal(names(first(7, 0, 20)), names(first(7, 1, 20))))
}

func TestLane_InjectsEachKindBeforeItRepeatsOne(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	all := first(7, 1, 3*len(kinds))
	for len(all) > 0 {
		seen := map[string]bool{}
		for _, f := range all[:len(kinds)] {
			is.True(f.lasts >= f.kind.shortest && f.lasts <= f.kind.longest)
			is.True(f.after >= betweenShortest && f.after <= betweenLongest)
			seen[f.kind.name] = true
		}
		is.Equal(len(seen), len(kinds))
		all = all[len(kinds):]
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		good bool
	}{
		{"Plain", nil, true},
		{"Only", []string{"-only", "SIGKILL,late"}, true},
		{"OnlyNothing", []string{"-only", "nothing is called like that"}, false},
		{"NoTime", []string{"-for", "0s"}, false},
		{"NoWorker", []string{"-workers", "0"}, false},
		{"NoLoad", []string{"-rate", "0"}, false},
		{"Word", []string{"now"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			set, err := parse(test.args, t.Output())
			is.Equal(err == nil, test.good)
			if test.good {
				is.True(set.seed != 0)
				is.True(len(set.kinds) > 0)
			}
		})
	}
}
