package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

var idleScenario = scenario{
	name:    "idle",
	about:   "milliseconds from a commit to the handler, one message at a time, with an idle worker",
	n:       500,
	what:    "messages",
	systems: []string{"letterbox", "floor", "river", "watermill"},
	charted: []string{"start p50", "start p99"},
	run:     idle,
}

func idle(ctx context.Context, r *run) error {
	return r.in(ctx, func(db *database) error {
		a := newAudit(r.n + 1)
		started := make(chan time.Time, 1)
		var waits []float64
		lost, err := r.working(ctx, worker{db: db, handle: func(number int) {
			a.handle(number)
			started <- time.Now()
		}}, func(ctx context.Context) error {
			for i := range r.n + 1 {
				// A gap of random length, so that no poll falls into step with it.
				if err := sleep(ctx, r.set.gap/2+rand.N(r.set.gap)); err != nil {
					return err
				}
				err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
					return r.system.publish(ctx, tx, i, time.Time{})
				})
				if err != nil {
					return err
				}
				committed := time.Now()
				select {
				case at := <-started:
					if i > 0 { // before the first, the worker is still starting
						waits = append(waits, inMillis(max(0, at.Sub(committed))))
					}
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(stall):
					return fmt.Errorf("message %d was not handled within %v", i, stall)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.add(millis("start p50", percentile(waits, 50)), millis("start p99", percentile(waits, 99)))
		return r.check(ctx, db, a, lost)
	})
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
