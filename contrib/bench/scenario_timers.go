package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

var timersScenario = scenario{
	name:    "timers",
	about:   "milliseconds by which a handler starts after its message became due, with an idle worker",
	n:       1000,
	what:    "timers, one due every 20 ms on average",
	systems: []string{"letterbox", "floor", "river"},
	charted: []string{"error p50", "error p99"},
	run:     timers,
}

// timerEvery is how far timers are apart, on average.
const timerEvery = 20 * time.Millisecond

// timerLead is when the first is due: all n are published by then, and a leader is elected where one is needed.
func timerLead(n int) time.Duration { return 3*time.Second + time.Duration(n)*5*time.Millisecond }

func timers(ctx context.Context, r *run) error {
	return r.in(ctx, func(db *database) error {
		skew, err := clockSkew(ctx, db)
		if err != nil {
			return err
		}
		var (
			a     = newAudit(r.n)
			due   = make([]time.Time, r.n)
			start = make([]atomic.Int64, r.n) // nanoseconds after began
			began = time.Now()
		)
		for i := range due {
			due[i] = began.Add(timerLead(r.n) + rand.N(time.Duration(r.n)*timerEvery))
		}
		lost, err := r.working(ctx, worker{db: db, handle: func(number int) {
			start[number].Store(int64(time.Since(began)))
			a.handle(number)
		}}, func(ctx context.Context) error {
			err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
				for i, at := range due {
					if err := r.system.publish(ctx, tx, i, at.Add(skew)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if late := time.Since(began); late > timerLead(r.n) {
				return fmt.Errorf("publishing %d timers took %v, longer than until the first is due: try a smaller -n", r.n, late)
			}
			return a.wait(ctx)
		})
		if err != nil {
			return err
		}
		off, early := make([]float64, r.n), 0
		for i := range off {
			late := time.Duration(start[i].Load()) - due[i].Sub(began)
			off[i] = inMillis(late.Abs())
			if late < -clockPrecision {
				early++
			}
		}
		if early > 0 {
			return fmt.Errorf("%d of %d timers fired before they were due", early, r.n)
		}
		r.add(millis("error p50", percentile(off, 50)), millis("error p99", percentile(off, 99)))
		return r.check(ctx, db, a, lost)
	})
}

// clockPrecision is how well clockSkew knows the clock of a database nearby.
const clockPrecision = time.Millisecond

// clockSkew is how far the database's clock is ahead of ours: the answer that came fastest counts.
func clockSkew(ctx context.Context, db *database) (skew time.Duration, err error) {
	fastest := time.Hour
	for range 20 {
		var at time.Time
		asked := time.Now()
		if err := db.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&at); err != nil {
			return 0, fmt.Errorf("ask for the time: %w", err)
		}
		if took := time.Since(asked); took < fastest {
			fastest, skew = took, at.Sub(asked.Add(took/2))
		}
	}
	return skew, nil
}
