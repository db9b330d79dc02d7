package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// leaseFloor is the least that a queue with leases has to do: one connection, on which each round trip acknowledges what
// the last one claimed and claims up to 1,000 rows more, in one commit. It is pgx and nothing else: no encoding of values,
// no concurrency, no retries, no lease that is ever extended.
type leaseFloor struct{}

// floorBatch is how many rows a floor takes at once.
const floorBatch = 1000

const floorQueue = "orders"

// floorHeaders is what an envelope looks like.
var floorHeaders = []byte(`{"content-type": "application/json", "correlation_id": "0d3b2a52-3f0e-4e53-9a3c-0d8f5f6b7a11"}`)

func (leaseFloor) setup(ctx context.Context, db *database) error {
	_, err := db.pool.Exec(ctx, outboxSQL, pgx.QueryExecModeSimpleProtocol)
	return err
}

// publish writes the row and notifies, in one statement.
func (leaseFloor) publish(ctx context.Context, tx pgx.Tx, number int, due time.Time) error {
	_, err := tx.Exec(ctx, `
		WITH told AS (SELECT pg_notify('floor', ''))
		INSERT INTO outbox (id, queue, payload, headers, next_attempt_at)
		SELECT $1, $2, $3, $4, COALESCE($5::timestamptz, now()) FROM told`,
		number, floorQueue, payload(number), floorHeaders, nullTime(due))
	return err
}

func nullTime(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }

// fill is COPY.
func (leaseFloor) fill(ctx context.Context, tx pgx.Tx, numbers span, due time.Time) error {
	if due.IsZero() {
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&due); err != nil {
			return err
		}
	}
	rows := pgx.CopyFromSlice(numbers.len(), func(i int) ([]any, error) {
		number := numbers.first + i
		return []any{int64(number), floorQueue, payload(number), floorHeaders, due}, nil
	})
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"outbox"}, []string{"id", "queue", "payload", "headers", "next_attempt_at"}, rows); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `SELECT pg_notify('floor', '')`)
	return err
}

func (leaseFloor) expire(ctx context.Context, db *database, n int) error {
	return expireOutbox(ctx, db, n)
}

func (leaseFloor) left(ctx context.Context, db *database) (int, error) { return leftInOutbox(ctx, db) }

const (
	floorAckSQL = `DELETE FROM outbox WHERE id = ANY($1) AND acquired_token = $2`

	floorClaimSQL = `
		WITH due AS (
		  SELECT id FROM outbox
		  WHERE queue = $1 AND acquired_token IS NULL AND next_attempt_at <= now()
		  ORDER BY next_attempt_at
		  LIMIT $2
		  FOR UPDATE SKIP LOCKED
		)
		UPDATE outbox AS o
		SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
		FROM due WHERE o.id = due.id
		RETURNING o.id, o.payload, o.headers, o.attempts_count, o.deliveries_count, o.created_at, o.next_attempt_at`

	floorExpiredSQL = `
		WITH due AS (
		  SELECT id FROM outbox
		  WHERE queue = $1 AND acquired_token IS NOT NULL AND acquired_at < now() - interval '60 s'
		  ORDER BY acquired_at
		  LIMIT $2
		  FOR UPDATE SKIP LOCKED
		)
		UPDATE outbox AS o
		SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
		FROM due WHERE o.id = due.id
		RETURNING o.id, o.payload, o.headers, o.attempts_count, o.deliveries_count, o.created_at, o.next_attempt_at`
)

func (leaseFloor) work(ctx context.Context, w worker) error {
	if w.form == batchedTx || w.queues > 1 {
		return errUnsupported
	}
	calls, stop, err := listen(ctx, w.pool)
	if err != nil {
		return err
	}
	defer stop()
	always := context.WithoutCancel(ctx)
	conn, err := w.pool.Acquire(always)
	if err != nil {
		return err
	}
	defer conn.Release()
	f := floorLoop{conn: conn.Conn(), token: newToken(), handle: w.handle}

	claim := floorExpiredSQL // once, to begin with; then what is pending
	for ctx.Err() == nil {
		if err := f.exchange(always, claim); err != nil {
			return err
		}
		switch {
		case len(f.ids) > 0:
		case claim == floorExpiredSQL:
			claim = floorClaimSQL
		default:
			if err := waitForFloor(ctx, f.conn, calls); err != nil {
				return err
			}
		}
	}
	return f.exchange(always, "") // what is in hand
}

// floorLoop is the state of the loop: what is claimed and not yet acknowledged.
type floorLoop struct {
	conn   *pgx.Conn
	token  pgtype.UUID
	ids    []int64
	handle func(number int)
}

// exchange acknowledges and claims in one round trip, then handles.
func (f *floorLoop) exchange(ctx context.Context, claim string) error {
	b := &pgx.Batch{}
	if len(f.ids) > 0 {
		b.Queue(floorAckSQL, f.ids, f.token)
	}
	acks := b.Len()
	if claim != "" {
		b.Queue(claim, floorQueue, floorBatch, f.token)
	}
	if b.Len() == 0 {
		return nil
	}
	res := f.conn.SendBatch(ctx, b)
	if acks > 0 {
		tag, err := res.Exec()
		if err == nil && int(tag.RowsAffected()) != len(f.ids) {
			err = errors.New("a lease was lost")
		}
		if err != nil {
			return errors.Join(err, res.Close())
		}
		f.ids = f.ids[:0]
	}
	if claim != "" {
		rows, err := res.Query()
		if err != nil {
			return errors.Join(err, res.Close())
		}
		if err := f.read(rows); err != nil {
			return errors.Join(err, res.Close())
		}
	}
	if err := res.Close(); err != nil {
		return err
	}
	for _, id := range f.ids {
		f.handle(int(id))
	}
	return nil
}

// read takes in the rows of a claim, all columns, as any client would.
func (f *floorLoop) read(rows pgx.Rows) error {
	var (
		id                   int64
		body, headers        []byte
		attempts, deliveries int64
		created, due         time.Time
	)
	_, err := pgx.ForEachRow(rows, []any{&id, &body, &headers, &attempts, &deliveries, &created, &due}, func() error {
		f.ids = append(f.ids, id)
		return nil
	})
	return err
}

func newToken() pgtype.UUID {
	t := pgtype.UUID{Valid: true}
	rand.Read(t.Bytes[:]) // never fails
	return t
}
