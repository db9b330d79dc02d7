package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness { return newHarness(t) })
}

func TestModel(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	storetest.RunModel(t, func(t *testing.T) storetest.Harness {
		if _, err := h.pool.Exec(t.Context(), "TRUNCATE outbox, outbox_dlq"); err != nil {
			t.Fatal(err)
		}
		return h
	})
}

// harness joins the suite of the lease contract.
type harness struct {
	pool  *pgxpool.Pool
	table *postgres.Table
}

func newHarness(t *testing.T) harness {
	t.Helper()
	table, err := postgres.Bind(postgres.Names{})
	if err != nil {
		t.Fatal(err)
	}
	return harness{pool: pgtest.New(t, pgtest.Schema(table.Schema())).Pool, table: table}
}

func (h harness) Store() store.Store { return postgres.NewStore(h.table, h.pool) }

func (h harness) Publish(ctx context.Context, drafts ...store.Draft) (ids []int64, err error) {
	err = pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		for i := range drafts {
			if drafts[i].Headers == nil {
				drafts[i].Headers = []byte("{}")
			}
			if drafts[i].TimerID != "" { // publishing takes no timer id
				var id int64
				const insert = `INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at)
					VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5)) RETURNING id`
				d := drafts[i]
				if err := tx.QueryRow(ctx, insert, d.Queue, d.Payload, d.Headers, d.TimerID, d.Delay.Seconds()).Scan(&id); err != nil {
					return err
				}
				ids = append(ids, id)
				continue
			}
			some, err := h.table.Publish(ctx, tx, drafts[i:i+1])
			if err != nil {
				return err
			}
			ids = append(ids, some...)
		}
		return nil
	})
	return ids, err
}

func (h harness) Insert(ctx context.Context, queue string, payload, headers []byte) (id int64, err error) {
	const insert = `INSERT INTO outbox (queue, payload, headers) VALUES ($1, $2, $3) RETURNING id`
	err = h.pool.QueryRow(ctx, insert, queue, payload, headers).Scan(&id)
	return id, err
}

func (h harness) Advance(ctx context.Context, d time.Duration) error {
	_, err := h.pool.Exec(ctx, `UPDATE outbox SET
		created_at = created_at - $1::interval, next_attempt_at = next_attempt_at - $1::interval,
		first_attempt_at = first_attempt_at - $1::interval, last_attempt_at = last_attempt_at - $1::interval,
		acquired_at = acquired_at - $1::interval`, d)
	return err
}

func (h harness) Rows(ctx context.Context) ([]storetest.Row, error) {
	rows, err := h.pool.Query(ctx, `SELECT id, queue, payload, headers, timer_id, attempts_count, deliveries_count,
		created_at, next_attempt_at, first_attempt_at, last_attempt_at, acquired_at, acquired_token, now()
		FROM outbox ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r storetest.Row, err error) {
		var first, last, claimed *time.Time
		var token *[16]byte
		var timer *string
		err = row.Scan(&r.ID, &r.Queue, &r.Payload, &r.Headers, &timer, &r.Attempts, &r.Deliveries,
			&r.CreatedAt, &r.DueAt, &first, &last, &claimed, &token, &r.Now)
		for to, from := range map[*time.Time]*time.Time{&r.FirstAttemptAt: first, &r.LastAttemptAt: last, &r.ClaimedAt: claimed} {
			if from != nil {
				*to = *from
			}
		}
		if token != nil {
			r.Token = uuid.UUID(*token)
		}
		if timer != nil {
			r.TimerID = *timer
		}
		return r, err
	})
}

func (h harness) DeadLetters(ctx context.Context) ([]storetest.DeadLetter, error) {
	rows, err := h.pool.Query(ctx, `SELECT original_id, queue, payload, headers, COALESCE(timer_id, ''), deliveries_count,
		created_at, failed_at, failure_reason, last_exception, now() FROM outbox_dlq ORDER BY id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d storetest.DeadLetter, err error) {
		err = row.Scan(&d.OriginalID, &d.Queue, &d.Payload, &d.Headers, &d.TimerID, &d.Deliveries,
			&d.CreatedAt, &d.FailedAt, &d.Reason, &d.Error, &d.Now)
		return d, err
	})
}

func (h harness) BreakDeadLetters(ctx context.Context) error {
	_, err := h.pool.Exec(ctx, `ALTER TABLE outbox_dlq RENAME TO elsewhere`)
	return err
}

func (h harness) MendDeadLetters(ctx context.Context) error {
	_, err := h.pool.Exec(ctx, `ALTER TABLE elsewhere RENAME TO outbox_dlq`)
	return err
}

func (h harness) Lock(ctx context.Context, ids ...int64) (func() error, error) {
	tx, err := h.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `SELECT FROM outbox WHERE id = ANY($1) ORDER BY id FOR UPDATE`, ids)
	if err != nil {
		return nil, err
	}
	return func() error { return tx.Rollback(ctx) }, nil
}

func (h harness) Hold(ctx context.Context, c store.Claim) (storetest.Hold, store.Batch, error) {
	tx, err := h.pool.BeginTx(ctx, postgres.HeldTx(0))
	if err != nil {
		return nil, store.Batch{}, err
	}
	batch, err := h.table.Hold(ctx, tx, c)
	return hold{h.table, tx}, batch, err
}

type hold struct {
	table *postgres.Table
	tx    pgx.Tx
}

// Pass need not wait: the transaction began before its last statement.
func (h hold) Pass(ctx context.Context) (now time.Time, err error) {
	err = h.tx.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, err
}

func (h hold) Settle(ctx context.Context, outcomes ...store.Outcome) error {
	_, err := h.table.SettleIn(ctx, h.tx, outcomes)
	return err
}

func (h hold) Bury(ctx context.Context, outcomes ...store.Outcome) error {
	return h.table.BuryIn(ctx, h.tx, outcomes)
}

func (h hold) Commit(ctx context.Context) error { return h.tx.Commit(ctx) }

func (h harness) Schedule(ctx context.Context, d store.Draft) (id int64, added bool, err error) {
	err = pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		w, err := h.table.ScheduleTimer(ctx, tx, &d)
		if id, added = w.ID, w.ID != 0; w.Found != nil {
			id = w.Found.ID
		}
		return err
	})
	return id, added, err
}

func (h harness) Cancel(ctx context.Context, queue, timerID string) (id int64, done bool, err error) {
	err = pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		w, err := h.table.CancelTimer(ctx, tx, queue, timerID)
		if done = w.ID != 0; w.Found != nil {
			id = w.Found.ID
		}
		return err
	})
	return id, done, err
}

func (h harness) Pause(ctx context.Context, queue string) (bool, error) {
	return h.table.Pause(ctx, h.pool, queue)
}

func (h harness) Resume(ctx context.Context, queue string) (bool, error) {
	return h.table.Resume(ctx, h.pool, queue)
}
