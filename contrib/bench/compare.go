package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// comparison is a scenario run with several systems in turn, round by round.
type comparison struct {
	Scenario string
	What     string // what was counted
	N        int
	Rounds   int
	Systems  []string // the first is compared with the others
	Metrics  []metric // names and units, in order of appearance
	Charted  []string // names of those that the chart shows
	Results  []result
	values   map[cell][]float64
}

// cell is where the measurements of one metric with one system are, a value for each round.
type cell struct{ metric, system string }

// compare runs a scenario with systems A and B in the order A, B, A, B ...: what slows the machine down for a while then
// slows down both. A system that does not do what the scenario asks for is left out. What happens goes to progress.
func compare(ctx context.Context, s *server, set settings, sc scenario, systems []string, progress io.Writer) (comparison, error) {
	c := comparison{Scenario: sc.name, What: sc.what, Charted: sc.charted, Systems: slices.Clone(systems)}
	for round := 1; round <= set.rounds; round++ {
		for _, name := range slices.Clone(c.Systems) {
			res, err := measure(ctx, s, set, sc, name, round)
			if errors.Is(err, errUnsupported) {
				fmt.Fprintln(progress, err)
				c.Systems = slices.DeleteFunc(c.Systems, func(s string) bool { return s == name })
				continue
			}
			if err != nil {
				return c, err
			}
			fmt.Fprintln(progress, res)
			c.take(res)
		}
		c.Rounds = round
	}
	return c, nil
}

// take adds a result.
func (c *comparison) take(res result) {
	if c.values == nil {
		c.values = map[cell][]float64{}
	}
	c.N = res.N
	c.Results = append(c.Results, res)
	for _, m := range res.Metrics {
		if !slices.ContainsFunc(c.Metrics, func(k metric) bool { return k.Name == m.Name }) {
			c.Metrics = append(c.Metrics, m)
		}
		at := cell{m.Name, res.System}
		c.values[at] = append(c.values[at], m.Value)
	}
}

// of is what a metric amounts to with one system.
func (c comparison) of(metric, system string) summary {
	return summarize(c.values[cell{metric, system}])
}

// ratio is a metric with one system, divided by the same with another, round by round.
func (c comparison) ratio(metric, system, by string) summary {
	return summarize(ratios(c.values[cell{metric, system}], c.values[cell{metric, by}]))
}
