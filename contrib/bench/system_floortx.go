package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// heldFloor is the least that a queue has to do which holds its rows in an open transaction: select up to 1,000 for
// update, handle them, delete them, commit. Nothing else is written. It fills and publishes as leaseFloor does.
type heldFloor struct{ leaseFloor }

const heldSelectSQL = `
	SELECT id, payload, headers, attempts_count, deliveries_count, created_at, next_attempt_at
	FROM outbox
	WHERE queue = $1 AND acquired_token IS NULL AND next_attempt_at <= now()
	ORDER BY next_attempt_at
	LIMIT $2
	FOR UPDATE SKIP LOCKED`

func (heldFloor) work(ctx context.Context, w worker) error {
	if w.queues > 1 {
		return errUnsupported
	}
	calls, stop, err := listen(ctx, w.pool)
	if err != nil {
		return err
	}
	defer stop()
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	always := context.WithoutCancel(ctx)
	f := floorLoop{conn: conn.Conn(), handle: w.handle}
	for ctx.Err() == nil {
		if err := f.hold(always, w.batch); err != nil {
			return err
		}
		if len(f.ids) > 0 {
			continue
		}
		if err := waitForFloor(ctx, f.conn, calls); err != nil {
			return err
		}
	}
	return nil
}

// hold is one transaction, in two round trips: the handlers are between them.
func (f *floorLoop) hold(ctx context.Context, batch int) error {
	b := &pgx.Batch{}
	b.Queue(`BEGIN`)
	b.Queue(heldSelectSQL, floorQueue, batch)
	res := f.conn.SendBatch(ctx, b)
	_, err := res.Exec()
	if err != nil {
		return errors.Join(err, res.Close())
	}
	rows, err := res.Query()
	if err != nil {
		return errors.Join(err, res.Close())
	}
	f.ids = f.ids[:0]
	if err := errors.Join(f.read(rows), res.Close()); err != nil {
		return err
	}
	for _, id := range f.ids {
		f.handle(int(id))
	}
	b = &pgx.Batch{}
	b.Queue(`DELETE FROM outbox WHERE id = ANY($1)`, f.ids)
	b.Queue(`COMMIT`)
	return f.conn.SendBatch(ctx, b).Close()
}

func (heldFloor) expire(context.Context, *database, int) error { return errUnsupported }
