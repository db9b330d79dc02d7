package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

var batchScenario = scenario{
	name:    "batch",
	about:   "rows a second of publishing 10,000 messages in one transaction; the floor is COPY",
	n:       10_000,
	what:    "messages in a batch",
	systems: []string{"letterbox", "floor", "river", "watermill"},
	charted: []string{"publish"},
	run:     batch,
}

// batches is how many batches a run publishes, after one that is not counted.
const batches = 10

func batch(ctx context.Context, r *run) error {
	return r.in(ctx, func(db *database) error {
		var rates []float64
		for i := range batches + 1 {
			began := time.Now()
			err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
				return r.system.fill(ctx, tx, span{i * r.n, (i + 1) * r.n}, time.Time{})
			})
			if err != nil {
				return err
			}
			if i > 0 {
				rates = append(rates, float64(r.n)/time.Since(began).Seconds())
			}
		}
		r.add(rate("publish", median(rates)))
		return nil
	})
}
