package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// fillChunk is how many messages one call of a system's fill gets. The transaction is one all the same.
const fillChunk = 50_000

// fill publishes messages in one transaction, all due at the same time.
func (r *run) fill(ctx context.Context, db *database, numbers span, due time.Time) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		for _, piece := range numbers.cut(fillChunk) {
			if err := r.system.fill(ctx, tx, piece, due); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("publish %d messages: %w", numbers.len(), err)
	}
	return nil
}
