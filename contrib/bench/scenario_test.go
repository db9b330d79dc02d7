package main

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// Every scenario runs with every system that it compares, small, and its audits find nothing: neither the scenarios nor
// the systems lose a message.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	set := settings{n: 300, concurrency: 4, batch: 50, gap: time.Millisecond, length: minLength, backlog: 600}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, pgtest.New(t).DSN)
			for _, name := range sc.systems {
				t.Run(name, func(t *testing.T) {
					is := is.New(t)
					set := set
					switch sc.name {
					case "timers", "idle":
						set.n = 30
					case "pinned", "pinned-tx":
						set.n = 2 * publishAtOnce
					}
					res, err := measure(t.Context(), s, set, sc, name, 1)
					is.NoErr(err)
					for _, m := range res.Metrics {
						if !(m.Value >= 0) {
							t.Errorf("%s is %v", m.Name, m.Value)
						}
					}
					for _, charted := range sc.charted {
						_, ok := res.value(charted)
						is.True(ok) // the chart would have nothing to show
					}
					for _, g := range goals {
						if g.scenario == sc.name && sc.name != "fleet" { // whose statements are counted only on a server that does
							_, ok := res.value(g.metric)
							is.True(ok || name != library) // the goal would never be judged
						}
					}
				})
			}
		})
	}
}

func TestHeapTimes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ heap, small, want float64 }{
		"grows with the backlog":    {heap: 30, small: 10, want: 3},
		"is flat":                   {heap: 10, small: 10, want: 1},
		"one too small to be seen":  {heap: 4, small: 0, want: 4},
		"both too small to be seen": {heap: 0, small: 0, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			is.New(t).Equal(heapTimes(tt.heap, tt.small), tt.want)
		})
	}
}

func TestMeasure_SaysWhatIsNotDone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := open(t, pgtest.New(t).DSN)
	set := settings{n: 10, concurrency: 4, batch: 50, gap: time.Millisecond, length: minLength, backlog: 20}
	_, err := measure(t.Context(), s, set, timersScenario, "watermill", 1)
	is.True(errors.Is(err, errUnsupported))
}
