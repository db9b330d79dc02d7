package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// ackOneSQL is the last statement of a transaction that handled one leased row.
// With = the planner may prefer to walk all leases by their partial index.
const ackOneSQL = `DELETE FROM {outbox} WHERE id = $1 AND acquired_token IS NOT DISTINCT FROM $2::uuid`

// AckIn deletes a leased row in the caller's transaction. It returns false where
// the row no longer holds the token: then the transaction must not commit. The
// row stays locked until the transaction ends, so nobody can take it in between.
func (t *Table) AckIn(ctx context.Context, tx pgx.Tx, l store.Lease) (bool, error) {
	tag, err := tx.Exec(ctx, t.sql.ackOne, l.ID, pgUUID(l.Token))
	if err != nil {
		return false, err
	}
	return tag.RowsAffected() == 1, nil
}

// holdSQL selects due rows and locks them for the length of a transaction; no
// lease is written. See claimSQL for the order.
const holdSQL = `
SELECT id, acquired_token, payload, headers, timer_id, attempts_count, deliveries_count + 1,
       created_at, next_attempt_at, first_attempt_at, last_attempt_at
FROM {outbox}
WHERE queue = $1 AND acquired_token IS NULL
  AND next_attempt_at <= now() AND next_attempt_at >= $3::timestamptz
ORDER BY next_attempt_at
LIMIT $2
FOR UPDATE SKIP LOCKED`

// holdExpiredSQL does the same for rows whose lease has run out: a worker of the
// leased kind died with them.
const holdExpiredSQL = `
SELECT id, acquired_token, payload, headers, timer_id, attempts_count, deliveries_count + 1,
       created_at, next_attempt_at, first_attempt_at, last_attempt_at
FROM {outbox}
WHERE queue = $1 AND acquired_token IS NOT NULL
  AND acquired_at < now() - make_interval(secs => $3::float8)
ORDER BY acquired_at
LIMIT $2
FOR UPDATE SKIP LOCKED`

// pinHeldSQL is pinSQL for a transaction in which a handler's statements run
// too: unpinHeldSQL gives them the planner back as it was.
const (
	pinHeldSQL = `SELECT set_config('letterbox.seqscan', current_setting('enable_seqscan'), true),
       set_config('letterbox.bitmapscan', current_setting('enable_bitmapscan'), true),
       set_config('letterbox.sort', current_setting('enable_sort'), true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true),
       set_config('idle_in_transaction_session_timeout', $1::text, true)`
	unpinHeldSQL = `SELECT set_config('enable_seqscan', current_setting('letterbox.seqscan'), true),
       set_config('enable_bitmapscan', current_setting('letterbox.bitmapscan'), true),
       set_config('enable_sort', current_setting('letterbox.sort'), true)`
)

// Hold locks due rows in tx and returns them, as [store.Claim] asks, but without
// a lease: where a row has an expired one, the message carries its old token,
// else none. idle is how long the server lets the transaction sit between two
// statements before it ends it; zero for no limit of ours.
func (t *Table) Hold(ctx context.Context, tx pgx.Tx, c store.Claim, idle time.Duration) (store.Batch, error) {
	b := &pgx.Batch{}
	b.Queue(pinHeldSQL, strconv.FormatInt(idle.Milliseconds(), 10))
	if c.ExpiredAfter > 0 {
		b.Queue(t.sql.holdExpired, c.Queue, c.Limit, c.ExpiredAfter.Seconds())
	} else {
		b.Queue(t.sql.hold, c.Queue, c.Limit, sinceParam(c.Since))
	}
	b.Queue(t.sql.clock, c.Queue)
	b.Queue(unpinHeldSQL)
	res := tx.SendBatch(ctx, b)
	batch, err := readHold(res, c)
	if closed := res.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return store.Batch{}, fmt.Errorf("hold rows of %s: %w", t, err)
	}
	return batch, nil
}

func readHold(res pgx.BatchResults, c store.Claim) (store.Batch, error) {
	if _, err := res.Exec(); err != nil {
		return store.Batch{}, err
	}
	return readBatch(res, c, true)
}

// holdAgainSQL locks a row that was held before, unless somebody has it, or has
// had it since.
const holdAgainSQL = `
SELECT id FROM {outbox}
WHERE id = $1 AND acquired_token IS NOT DISTINCT FROM $2::uuid
  AND attempts_count = $3 AND deliveries_count = $4
FOR UPDATE SKIP LOCKED`

// HoldAgain locks in tx a row that another transaction held and gave up. It
// returns false where the row is no longer as it was then.
func (t *Table) HoldAgain(ctx context.Context, tx pgx.Tx, c *store.Claimed) (bool, error) {
	token := pgUUID(c.Token)
	token.Valid = c.Token != uuid.Nil
	rows, err := tx.Query(ctx, t.sql.holdAgain, c.ID, token, c.Attempts, c.Deliveries-1)
	if err != nil {
		return false, err
	}
	ids, err := appendFirst(nil, rows)
	return len(ids) == 1, err
}

// SettleIn writes outcomes of rows that tx holds. It returns the ids of those
// that took effect, which is all of them. It pins the planner for the rest of the
// transaction, and so comes last.
func (t *Table) SettleIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) ([]int64, error) {
	b := &pgx.Batch{}
	b.Queue(pinSQL)
	settles := t.queueSettles(b, outcomes)
	if settles == 0 {
		return nil, nil
	}
	res := tx.SendBatch(ctx, b)
	_, err := res.Exec() // the pin
	var ids []int64
	if err == nil {
		ids, err = readSettles(res, settles)
	}
	if closed := res.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, fmt.Errorf("settle %d held rows of %s: %w", len(outcomes), t, err)
	}
	return ids, nil
}

// BuryIn moves rows that tx holds to the dead-letter table.
func (t *Table) BuryIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) error {
	if len(outcomes) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, t.sql.bury, buryArgs(outcomes)...)
	if err != nil {
		return err
	}
	_, err = appendFirst(nil, rows)
	return err
}

func sinceParam(since time.Time) pgtype.Timestamptz {
	p := pgtype.Timestamptz{Valid: true, Time: since}
	if since.IsZero() {
		p.InfinityModifier = pgtype.NegativeInfinity
	}
	return p
}
