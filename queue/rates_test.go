package queue_test

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
)

// snapshot is one of a table, so many seconds after another.
func snapshot(seconds int, totals queue.Totals, queues ...queue.QueueStats) queue.Stats {
	return queue.Stats{At: time.Unix(1_700_000_000, 0).Add(time.Duration(seconds) * time.Second), Totals: totals, Queues: queues}
}

func depth(name string, due, dead int64) queue.QueueStats {
	return queue.QueueStats{Queue: name, Due: queue.Count{N: due}, Dead: queue.Count{N: dead}}
}

func capped(name string) queue.QueueStats {
	return queue.QueueStats{Queue: name, Due: queue.Count{N: 100, Capped: true}, Dead: queue.Count{N: 100, Capped: true}}
}

func TestSince(t *testing.T) {
	t.Parallel()
	more := func(s queue.Stats) queue.Stats { s.MoreQueues = true; return s }
	noDead := func(s queue.Stats) queue.Stats { s.DeadErr = errors.New("no table"); return s }
	known := func(name string, growth, dead float64) queue.QueueRates {
		return queue.QueueRates{Queue: name, Known: true, Growth: growth, DeadKnown: true, DeadGrowth: dead}
	}
	a, b := queue.Totals{Published: 1000, Removed: 500, Died: 7}, queue.Totals{Published: 1200, Removed: 800, Died: 9}
	rates := func(queues ...queue.QueueRates) queue.Rates {
		return queue.Rates{Interval: 20 * time.Second, Known: true, Published: 10, Removed: 15, Died: 0.1, Queues: queues}
	}
	tests := []struct {
		name           string
		earlier, later queue.Stats
		want           queue.Rates
	}{
		{"in both", snapshot(0, a, depth("q", 10, 1)), snapshot(20, b, depth("q", 110, 0)), rates(known("q", 5, -0.05))},
		{"new", snapshot(0, a), snapshot(20, b, depth("q", 10, 2)), rates(known("q", 0.5, 0.1))},
		{"gone", snapshot(0, a, depth("q", 10, 2)), snapshot(20, b, depth("r", 1, 0)), rates(known("r", 0.05, 0), known("q", -0.5, -0.1))},
		{"new, or not listed before", more(snapshot(0, a)), snapshot(20, b, depth("q", 10, 2)), rates(queue.QueueRates{Queue: "q"})},
		{"gone, or not listed now", snapshot(0, a, depth("q", 10, 2)), more(snapshot(20, b)), rates(queue.QueueRates{Queue: "q"})},
		{"listed in both, others not", more(snapshot(0, a, depth("q", 10, 2))), more(snapshot(20, b, depth("q", 10, 2))), rates(known("q", 0, 0))},
		{"capped before", snapshot(0, a, capped("q")), snapshot(20, b, depth("q", 10, 2)), rates(queue.QueueRates{Queue: "q"})},
		{"capped now", snapshot(0, a), snapshot(20, b, capped("q")), rates(queue.QueueRates{Queue: "q"})},
		{"no time between", snapshot(5, a), snapshot(5, b, depth("q", 1, 1)), queue.Rates{}},
		{"the wrong way round", snapshot(5, b), snapshot(0, a), queue.Rates{Interval: -5 * time.Second}},
		{"statistics were reset", snapshot(0, b, depth("q", 10, 0)), snapshot(20, a, depth("q", 30, 0)),
			queue.Rates{Interval: 20 * time.Second, Queues: []queue.QueueRates{known("q", 1, 0)}}},
		{"dead letters not counted", snapshot(0, a), noDead(snapshot(20, b, depth("q", 10, 0))),
			queue.Rates{Interval: 20 * time.Second, Known: true, Published: 10, Removed: 15,
				Queues: []queue.QueueRates{{Queue: "q", Known: true, Growth: 0.5}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is.New(t).Equal(tt.later.Since(tt.earlier), tt.want)
		})
	}
}

func TestSince_OfARealTable(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	look := func() queue.Stats {
		t.Helper()
		s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{})
		is.NoErr(err)
		return s
	}
	before := look()
	drafts := make([]queue.Draft, 30)
	for i := range drafts {
		drafts[i] = orders.Draft(nil)
	}
	_, err := queue.Publish(t.Context(), queue.Autocommit(db.Pool), drafts...)
	is.NoErr(err)
	run(t, db.Pool, "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox LIMIT 10)")
	run(t, db.Pool, "INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason) VALUES (1, 'orders', '', 1, now(), 'rejected')")
	var r queue.Rates
	var seconds float64
	for end := time.Now().Add(20 * time.Second); ; { // PostgreSQL counts a little later
		r = look().Since(before)
		seconds = r.Interval.Seconds()
		if r.Removed > 0 && r.Died > 0 || time.Now().After(end) {
			break
		}
	}
	is.True(r.Known)
	rows := func(rate float64) int { return int(rate*seconds + 0.5) }
	is.Equal([]int{rows(r.Published), rows(r.Removed), rows(r.Died)}, []int{30, 10, 1})
	is.Equal(len(r.Queues), 1)
	is.True(r.Queues[0].Known && r.Queues[0].DeadKnown)
	is.Equal([]int{rows(r.Queues[0].Growth), rows(r.Queues[0].DeadGrowth)}, []int{20, 1})
}
