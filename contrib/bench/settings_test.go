package main

import (
	"io"
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestParse_RefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"-scenario nonsense", `no scenario "nonsense"`},
		{"-scenario drain,", `no scenario ""`},
		{"-system kafka", `no system "kafka"`},
		{"-n -1", "-n is -1"},
		{"-rounds 0", "-rounds is 0"},
		{"-for 1s", "-for is 1s"},
		{"-gap 0s", "-gap is 0s"},
		{"drain", `unexpected "drain"`},
		{"-n 0 -concurrency 0 -batch 0", "-batch is 0"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			_, err := parse(strings.Fields(tt.args), io.Discard)
			is.New(t).True(err != nil && strings.Contains(err.Error(), tt.want))
		})
	}
}

func TestParse_TakesLists(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	set, err := parse(strings.Fields("-scenario drain,idle -system letterbox,floor -compare"), io.Discard)
	is.NoErr(err)
	picked, err := pickScenarios(set.scenarios)
	is.NoErr(err)
	is.Equal(len(picked), 2)
	all, err := pickScenarios("all")
	is.NoErr(err)
	is.Equal(len(all), len(scenarios))
}

func TestSpan_Cut(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	is.Equal(span{0, 5}.cut(2), []span{{0, 2}, {2, 4}, {4, 5}})
	is.Equal(len(span{3, 3}.cut(2)), 0)
}
