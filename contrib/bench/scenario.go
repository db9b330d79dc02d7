package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A scenario is one question about a system.
type scenario struct {
	name    string
	about   string   // in one line
	n       int      // messages, unless the command line says otherwise
	what    string   // what n counts
	systems []string // that are compared; the library first
	charted []string // metrics that the chart shows
	counts  bool     // it wants statements counted
	run     func(ctx context.Context, r *run) error
}

// scenarios in the order in which "all" runs them.
var scenarios = []scenario{
	drainScenario, drainTxScenario, backlogScenario, pinnedScenario, pinnedTxScenario, publishScenario, batchScenario,
	idleScenario, timersScenario, fleetScenario,
}

// pickScenarios finds scenarios by a list of names with commas between; "all" is every one.
func pickScenarios(list string) ([]scenario, error) {
	if list == "all" {
		return scenarios, nil
	}
	var picked []scenario
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q; there are %s, and all", name, strings.Join(scenarioNames(), ", "))
		}
		picked = append(picked, scenarios[i])
	}
	return picked, nil
}

func scenarioNames() []string {
	names := make([]string, len(scenarios))
	for i, s := range scenarios {
		names[i] = s.name
	}
	return names
}

// run is one run of a scenario with one system.
type run struct {
	server *server
	system system
	set    settings
	n      int
	result result
}

// result is what a run found.
type result struct {
	Scenario string    `json:"scenario"`
	System   string    `json:"system"`
	Round    int       `json:"round"`
	N        int       `json:"n"`
	Took     float64   `json:"took_seconds"`
	Metrics  []metric  `json:"metrics"`
	Audits   []audited `json:"audits,omitempty"`
	Series   []series  `json:"series,omitempty"`
}

// series is a metric over time: a value for each second.
type series struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
}

// value finds a metric by its name.
func (r result) value(name string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// add notes metrics. What is no number, because nothing was measured, is left out.
func (r *run) add(ms ...metric) {
	for _, m := range ms {
		if !math.IsNaN(m.Value) && !math.IsInf(m.Value, 0) {
			r.result.Metrics = append(r.result.Metrics, m)
		}
	}
}

// measure runs a scenario once.
func measure(ctx context.Context, s *server, set settings, sc scenario, name string, round int) (result, error) {
	n := sc.n
	if set.n > 0 {
		n = set.n
	}
	r := &run{
		server: s, system: systems[name], set: set, n: n,
		result: result{Scenario: sc.name, System: name, Round: round, N: n},
	}
	began := time.Now()
	err := sc.run(ctx, r)
	r.result.Took = time.Since(began).Seconds()
	if err != nil {
		return r.result, fmt.Errorf("%s with %s: %w", sc.name, name, err)
	}
	return r.result, nil
}

// in calls f with a schema in which the system's tables are set up. It goes when f returns.
func (r *run) in(ctx context.Context, f func(db *database) error) (err error) {
	db, err := r.server.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close(ctx)) }()
	if err := r.system.setup(ctx, db); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return f(db)
}
