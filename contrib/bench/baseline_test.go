package main

import (
	"os"
	"testing"

	"github.com/matryer/is"
)

const baselineFile = "testdata/baseline.json"

// A change that makes PostgreSQL do more for each message fails here, on any machine; how fast it is does not matter.
// To accept it, or to keep what has become better:
//
//	go run . -counters -json > testdata/baseline.json
func TestCounters_DoNotRegress(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	if os.Getenv("DATABASE_URL") != "" {
		t.Skip("it needs a server with settings of its own")
	}
	is := is.New(t)
	was, err := readBaseline(baselineFile)
	is.NoErr(err)
	s, err := openServer(t.Context(), "", true, quiet...)
	is.NoErr(err)
	t.Cleanup(func() {
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if !s.counts {
		t.Log("the server has no " + statementStats + ": statements and buffers are not compared")
	}
	now, err := countAll(t.Context(), s, settings{concurrency: 16, batch: 1000})
	is.NoErr(err)
	drifts, err := drifted(was.Counters, now)
	is.NoErr(err)
	for _, d := range drifts {
		if d.regressed {
			t.Error(d)
		} else {
			t.Log(d)
		}
	}
	if t.Failed() {
		t.Log("now:")
		is.NoErr(writeCounters(os.Stderr, baseline{Counters: now}, false))
	}
}

func TestDrifted(t *testing.T) {
	t.Parallel()
	at := func(system string, bytes, trips float64) []counted {
		return []counted{{Case: "drain", System: system, PerMessage: map[string]float64{"wal bytes": bytes, "round trips": trips}}}
	}
	was := at(library, 500, 0.01)
	for _, tt := range []struct {
		name string
		is   []counted
		want string
	}{
		{"the same", at(library, 500, 0.01), ""},
		{"a little more", at(library, 550, 0.015), ""},
		{"more bytes", at(library, 600, 0.01), "drain, wal bytes per message: 600, was 500: worse than the baseline"},
		{"fewer bytes", at(library, 400, 0.01), "drain, wal bytes per message: 400, was 500: better than the baseline"},
		{"more round trips", at(library, 500, 0.021), "drain, round trips per message: 0.021, was 0.01: worse than the baseline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			drifts, err := drifted(was, tt.is)
			is.NoErr(err)
			got := ""
			for _, d := range drifts {
				got += d.String()
			}
			is.Equal(got, tt.want)
		})
	}
	t.Run("a case that is not counted any more", func(t *testing.T) {
		t.Parallel()
		_, err := drifted(was, nil)
		is.New(t).True(err != nil)
	})
	t.Run("the floors are not judged", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		drifts, err := drifted(at("floor", 500, 0.01), at("floor", 900, 0.01))
		is.NoErr(err)
		is.Equal(len(drifts), 0)
	})
}
