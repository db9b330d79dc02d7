package main

import (
	"testing"

	"github.com/matryer/is"
)

func TestVerdict_Reached(t *testing.T) {
	t.Parallel()
	more, less := goal{limit: 10}, goal{limit: 10, atMost: true}
	for _, tt := range []struct {
		name   string
		goal   goal
		rounds []float64
		want   string
	}{
		{"every round", more, []float64{11, 12}, "yes"},
		{"no round", more, []float64{8, 9}, "no"},
		{"most rounds", more, []float64{9.5, 10.5, 11}, "yes, but not in every round"},
		{"few rounds", more, []float64{9, 9.5, 10.5}, "no, but in some rounds"},
		{"apart", more, []float64{5, 11, 20}, "too noisy to say"},
		{"apart, but all beyond", more, []float64{11, 20, 40}, "yes"},
		{"less is better", less, []float64{8, 9}, "yes"},
		{"exactly", less, []float64{10}, "yes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is.New(t).Equal(verdict{tt.goal, summarize(tt.rounds)}.reached(), tt.want)
		})
	}
}

// A goal for a scenario, a system or a metric that does not exist would never be judged.
func TestGoals_NameWhatExists(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	for _, g := range goals {
		_, err := pickScenarios(g.scenario)
		is.NoErr(err)
		if g.by != "" {
			_, err := pick(g.by)
			is.NoErr(err)
		}
	}
}
