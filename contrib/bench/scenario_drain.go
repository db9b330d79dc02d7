package main

import (
	"context"
	"time"
)

var drainScenario = scenario{
	name:    "drain",
	about:   "messages a second that a worker handles and settles, with a handler that does nothing",
	n:       200_000,
	what:    "messages in the backlog",
	systems: []string{"letterbox", "floor", "river", "watermill"},
	charted: []string{"drain"},
	run:     func(ctx context.Context, r *run) error { return drain(ctx, r, single) },
}

var drainTxScenario = scenario{
	name:    "drain-tx",
	about:   "the same, where messages are claimed, handled and deleted in one transaction",
	n:       400_000,
	what:    "messages in the backlog",
	systems: []string{"letterbox", "floor-tx", "watermill"},
	charted: []string{"drain"},
	run:     func(ctx context.Context, r *run) error { return drain(ctx, r, batchedTx) },
}

func drain(ctx context.Context, r *run, f form) error {
	return r.in(ctx, func(db *database) error {
		if err := r.fill(ctx, db, span{0, r.n}, time.Time{}); err != nil {
			return err
		}
		if err := db.tidy(ctx); err != nil {
			return err
		}
		peak := heapPeak()
		took, err := r.drain(ctx, worker{db: db, form: f}, r.n)
		heap := peak()
		if err != nil {
			return err
		}
		r.add(rate("drain", float64(r.n)/took.Seconds()), mebibytes("heap peak", heap))
		return nil
	})
}
