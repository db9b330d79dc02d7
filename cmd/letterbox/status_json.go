package main

import (
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

// snapshot is a look at all queues in JSON.
type snapshot struct {
	At         time.Time   `json:"at"`
	Cap        int64       `json:"cap"`
	MoreQueues bool        `json:"more_queues"`
	Totals     totals      `json:"totals"`
	Rates      *rates      `json:"rates"`
	Queues     []queueLook `json:"queues"`
	DeadError  string      `json:"dead_error,omitempty"`
}

type totals struct {
	Published int64 `json:"published"`
	Removed   int64 `json:"removed"`
	Died      int64 `json:"died"`
}

// rates are a second; null where there is nothing to compare with.
type rates struct {
	Interval  float64 `json:"interval_seconds"`
	Published float64 `json:"published"`
	Removed   float64 `json:"removed"`
	Died      float64 `json:"died"`
}

// queueLook is one queue. Of a count that is capped there are at least so many.
type queueLook struct {
	Queue       string     `json:"queue"`
	Due         int64      `json:"due"`
	Leased      int64      `json:"leased"`
	Expired     int64      `json:"expired"`
	Scheduled   int64      `json:"scheduled"`
	Retrying    int64      `json:"retrying"`
	Dead        *int64     `json:"dead"`
	Capped      bool       `json:"capped"`
	OldestDue   float64    `json:"oldest_due_seconds"`
	OldestLease float64    `json:"oldest_lease_seconds"`
	PausedSince *time.Time `json:"paused_since"`
	Growth      *float64   `json:"growth"`
}

func newSnapshot(now queue.Stats, since queue.Rates, paused map[string]time.Time) snapshot {
	s := snapshot{
		At: now.At.UTC(), Cap: now.Cap, MoreQueues: now.MoreQueues,
		Totals: totals{now.Totals.Published, now.Totals.Removed, now.Totals.Died},
		Queues: make([]queueLook, len(now.Queues)),
	}
	if since.Known {
		s.Rates = &rates{since.Interval.Seconds(), since.Published, since.Removed, since.Died}
	}
	if now.DeadErr != nil {
		s.DeadError = now.DeadErr.Error()
	}
	growth := map[string]float64{}
	for _, r := range since.Queues {
		if r.Known {
			growth[r.Queue] = r.Growth
		}
	}
	for i, q := range now.Queues {
		look := queueLook{
			Queue: q.Queue, Due: q.Due.N, Leased: q.Leased.N, Expired: q.Expired.N, Scheduled: q.Scheduled.N, Retrying: q.Retrying.N,
			OldestDue: q.OldestDue.Seconds(), OldestLease: q.OldestLease.Seconds(), PausedSince: moment(paused[q.Queue]),
			Capped: q.Due.Capped || q.Leased.Capped || q.Scheduled.Capped || q.Retrying.Capped || q.Dead.Capped,
		}
		if now.DeadErr == nil {
			look.Dead = new(q.Dead.N)
		}
		if g, ok := growth[q.Queue]; ok {
			look.Growth = new(g)
		}
		s.Queues[i] = look
	}
	return s
}
