package queue

import (
	"cmp"
	"time"
)

// Rates is how an outbox moved between two snapshots. A table that is the queue
// keeps no history, so nothing is known of one snapshot alone.
type Rates struct {
	// Interval is the time between the two, by the database's clock.
	Interval time.Duration
	// Known says that there are rates of the whole table. There are none where
	// the snapshots are not one after the other, or where the statistics of
	// PostgreSQL were reset in between, as by a crash.
	Known bool
	// Published, Removed and Died are rows a second, of all queues together: see
	// [Totals] for what counts. PostgreSQL is up to a second late with them, so
	// snapshots should be ten seconds apart or more.
	Published, Removed, Died float64
	// Queues are those of either snapshot: first those of the later one.
	Queues []QueueRates
}

// QueueRates is how one queue moved. It is known from its depth alone: what came
// and went in between does not show.
type QueueRates struct {
	Queue string
	// Known says that both depths are: neither count was capped, and the queue is
	// in both snapshots, or in none of those that list all queues.
	Known bool
	// Growth is by how many messages a second the depth grew, below zero where it
	// shrank.
	Growth float64
	// DeadKnown and DeadGrowth are the same of the dead letters. They grow by
	// messages that die, and shrink by replays and purges.
	DeadKnown  bool
	DeadGrowth float64
}

// Since compares a snapshot with an earlier one of the same outbox.
func (s Stats) Since(earlier Stats) Rates {
	r := Rates{Interval: s.At.Sub(earlier.At)}
	if r.Interval <= 0 {
		return r
	}
	seconds := r.Interval.Seconds()
	published := s.Totals.Published - earlier.Totals.Published
	removed := s.Totals.Removed - earlier.Totals.Removed
	died := s.Totals.Died - earlier.Totals.Died
	dead := s.DeadErr == nil && earlier.DeadErr == nil
	if r.Known = published >= 0 && removed >= 0; r.Known {
		r.Published, r.Removed = float64(published)/seconds, float64(removed)/seconds
		if dead {
			r.Died = float64(max(0, died)) / seconds
		}
	}
	before, after := byName(earlier.Queues), byName(s.Queues)
	for i := range s.Queues {
		now := &s.Queues[i]
		was, listed := before[now.Queue]
		r.Queues = append(r.Queues, compare(now.Queue, now, was, dead, listed || !earlier.MoreQueues, seconds))
	}
	for i := range earlier.Queues { // those that are empty now
		was := &earlier.Queues[i]
		if _, listed := after[was.Queue]; !listed {
			r.Queues = append(r.Queues, compare(was.Queue, nil, was, dead, !s.MoreQueues, seconds))
		}
	}
	return r
}

// compare compares one queue, which is empty where it is nil; known says that both
// snapshots know of it, and dead that both have counted dead letters.
func compare(name string, now, was *QueueStats, dead, known bool, seconds float64) QueueRates {
	var empty QueueStats
	now, was = cmp.Or(now, &empty), cmp.Or(was, &empty)
	q := QueueRates{Queue: name}
	n, w := now.Depth(), was.Depth()
	if q.Known = known && !n.Capped && !w.Capped; q.Known {
		q.Growth = float64(n.N-w.N) / seconds
	}
	if q.DeadKnown = known && dead && !now.Dead.Capped && !was.Dead.Capped; q.DeadKnown {
		q.DeadGrowth = float64(now.Dead.N-was.Dead.N) / seconds
	}
	return q
}

func byName(queues []QueueStats) map[string]*QueueStats {
	m := make(map[string]*QueueStats, len(queues))
	for i := range queues {
		m[queues[i].Queue] = &queues[i]
	}
	return m
}
