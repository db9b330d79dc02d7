package main

import "fmt"

// goal is what the library is to reach: a metric of its own, or the ratio to the same metric of another system, measured
// in the same run.
type goal struct {
	scenario, metric string
	by               string // another system; empty: the metric itself
	atMost           bool
	limit            float64
}

// goals of the library, as ratios to other systems in the same run.
var goals = []goal{
	{scenario: "drain", metric: "drain", by: "floor", limit: 0.85},
	{scenario: "drain", metric: "drain", by: "river", limit: 4},
	{scenario: "drain-tx", metric: "drain", by: "floor-tx", limit: 0.8},
	{scenario: "drain-tx", metric: "drain", by: "watermill", limit: 1.6},
	{scenario: "backlog", metric: "deep: kept", limit: 0.8},
	{scenario: "backlog", metric: "deep: heap peak / small", limit: 1.5, atMost: true},
	{scenario: "backlog", metric: "behind the future: kept", limit: 0.8},
	{scenario: "backlog", metric: "expired leases: kept", limit: 0.8},
	{scenario: "pinned", metric: "kept", limit: 0.85},
	{scenario: "pinned", metric: "kept at the end", limit: 0.85},
	{scenario: "pinned", metric: "pinned", by: "river", limit: 8},
	{scenario: "pinned-tx", metric: "kept", limit: 0.85},
	{scenario: "pinned-tx", metric: "kept at the end", limit: 0.85},
	{scenario: "publish", metric: "1 committer, no worker: kept", limit: 0.78},
	{scenario: "publish", metric: "8 committers, no worker: kept", limit: 0.70},
	{scenario: "publish", metric: "1 committer: kept", limit: 0.78},
	{scenario: "publish", metric: "1 committer: start p99", limit: 10, atMost: true},
	{scenario: "publish", metric: "8 committers: kept", limit: 0.70},
	{scenario: "publish", metric: "8 committers: start p99", limit: 10, atMost: true},
	{scenario: "batch", metric: "publish", by: "floor", limit: 0.7},
	{scenario: "idle", metric: "start p50", by: "floor", limit: 1.3, atMost: true},
	{scenario: "idle", metric: "start p99", by: "floor", limit: 1.3, atMost: true},
	{scenario: "timers", metric: "error p50", limit: 3, atMost: true},
	{scenario: "timers", metric: "error p99", limit: 6, atMost: true},
	{scenario: "fleet", metric: "4 processes / 1", limit: 1},
	{scenario: "fleet", metric: "1 queue, idle: statements a minute", limit: 4, atMost: true},
}

// library is the system that the goals are about.
const library = "letterbox"

// verdict is a goal beside what was reached.
type verdict struct {
	goal
	got summary
}

// judge finds the goals that a comparison says something about.
func judge(c comparison) []verdict {
	var out []verdict
	for _, g := range goals {
		if g.scenario != c.Scenario {
			continue
		}
		got := c.of(g.metric, library)
		if g.by != "" {
			got = c.ratio(g.metric, library, g.by)
		}
		if got.N > 0 {
			out = append(out, verdict{g, got})
		}
	}
	return out
}

// String says what the goal is.
func (g goal) String() string {
	word := "at least"
	if g.atMost {
		word = "at most"
	}
	s := fmt.Sprintf("%s, %s: %s %s", g.scenario, g.metric, word, number(g.limit))
	if g.by != "" {
		s += " of " + g.by
	}
	return s
}

func (g goal) met(v float64) bool {
	if g.atMost {
		return v <= g.limit
	}
	return v >= g.limit
}

// reached says in a word or two whether the goal was reached. Rounds that disagree about it, and rounds that lie too far
// apart, do not decide by their median alone.
func (v verdict) reached() string {
	switch low, high := v.met(v.got.Min), v.met(v.got.Max); {
	case low && high:
		return "yes"
	case !low && !high:
		return "no"
	case v.got.noisy():
		return "too noisy to say"
	case v.met(v.got.Median):
		return "yes, but not in every round"
	default:
		return "no, but in some rounds"
	}
}
