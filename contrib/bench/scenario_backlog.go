package main

import (
	"context"
	"errors"
	"time"
)

var backlogScenario = scenario{
	name:    "backlog",
	about:   "the rate of drain with a deep backlog, with rows of the future, and with leases of dead workers; see -backlog",
	n:       100_000,
	what:    "messages in the small backlog that the others are compared with",
	systems: []string{"letterbox", "floor"},
	charted: []string{"deep: kept", "behind the future: kept", "expired leases: kept"},
	run:     backlog,
}

// situation is one state of the table, and how many messages are to be handled in it.
type situation struct {
	name string
	due  int
	fill func(ctx context.Context, db *database) error
}

func backlog(ctx context.Context, r *run) error {
	now, tomorrow := time.Time{}, time.Now().Add(24*time.Hour)
	expired := r.n / 2
	situations := []situation{
		{"small", r.n, func(ctx context.Context, db *database) error {
			return r.fill(ctx, db, span{0, r.n}, now)
		}},
		{"deep", r.set.backlog, func(ctx context.Context, db *database) error {
			return r.fill(ctx, db, span{0, r.set.backlog}, now)
		}},
		{"behind the future", r.n, func(ctx context.Context, db *database) error {
			if err := r.fill(ctx, db, span{r.n, r.n + r.set.backlog}, tomorrow); err != nil {
				return err
			}
			return r.fill(ctx, db, span{0, r.n}, now)
		}},
		{"expired leases", r.n + expired, func(ctx context.Context, db *database) error {
			if err := r.fill(ctx, db, span{0, r.n + expired}, now); err != nil {
				return err
			}
			return r.system.expire(ctx, db, expired)
		}},
	}
	var small, smallHeap float64
	for _, s := range situations {
		perSecond, heap, err := r.situation(ctx, s)
		if errors.Is(err, errUnsupported) && small > 0 {
			continue
		}
		if err != nil {
			return err
		}
		r.add(rate(s.name, perSecond))
		if small == 0 {
			small, smallHeap = perSecond, heap
			continue
		}
		r.add(share(s.name+": kept", perSecond/small))
		if s.name == "deep" {
			r.add(mebibytes(s.name+": heap peak", heap), times(s.name+": heap peak / small", heapTimes(heap, smallHeap)))
		}
	}
	return nil
}

// heapTimes is how many times as large one peak is as another, both in MiB. What is below one is told from nothing by the
// moments at which the garbage collector runs alone, and counts as one.
func heapTimes(heap, small float64) float64 { return max(heap, 1) / max(small, 1) }

func (r *run) situation(ctx context.Context, s situation) (perSecond, heap float64, err error) {
	err = r.in(ctx, func(db *database) error {
		if err := s.fill(ctx, db); err != nil {
			return err
		}
		if err := db.tidy(ctx); err != nil {
			return err
		}
		peak := heapPeak()
		took, err := r.drain(ctx, worker{db: db}, s.due)
		heap = peak()
		perSecond = float64(s.due) / took.Seconds()
		return err
	})
	return perSecond, heap, err
}
