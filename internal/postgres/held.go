package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// ackOneSQL is the last statement of a transaction that handled one leased row.
// With = the planner may prefer to walk all leases by their partial index.
const ackOneSQL = `DELETE FROM {outbox} WHERE id = $1 AND acquired_token IS NOT DISTINCT FROM $2::uuid`

// leasedSQL asks for one leased row and locks nothing.
const leasedSQL = `SELECT EXISTS (SELECT FROM {outbox} WHERE id = $1 AND acquired_token IS NOT DISTINCT FROM $2::uuid)`

// Leased reports whether a row holds its token.
func (t *Table) Leased(ctx context.Context, tx pgx.Tx, l store.Lease) (held bool, err error) {
	err = tx.QueryRow(ctx, t.sql.leased, l.ID, pgUUID(l.Token)).Scan(&held)
	return held, err
}

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
  AND {unpaused}
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
  AND {unpaused}
ORDER BY acquired_at
LIMIT $2
FOR UPDATE SKIP LOCKED`

// HeldTx begins a transaction that holds rows. idle is how long the server lets it
// sit between two statements before it ends it; zero for no limit of ours. The
// planner is kept on the indexes, as by pinSQL, until [Table.Hold] has held.
func HeldTx(idle time.Duration) pgx.TxOptions {
	return pgx.TxOptions{BeginQuery: fmt.Sprintf(`BEGIN;
SELECT set_config('letterbox.seqscan', current_setting('enable_seqscan'), true),
       set_config('letterbox.bitmapscan', current_setting('enable_bitmapscan'), true),
       set_config('letterbox.sort', current_setting('enable_sort'), true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true),
       set_config('idle_in_transaction_session_timeout', '%d', true)`, idle.Milliseconds())}
}

const (
	// unpinHeldSQL gives the handler's statements the planner back as it was.
	unpinHeldSQL = `SELECT set_config('enable_seqscan', current_setting('letterbox.seqscan'), true),
       set_config('enable_bitmapscan', current_setting('letterbox.bitmapscan'), true),
       set_config('enable_sort', current_setting('letterbox.sort'), true)`

	// What the handler writes comes after a savepoint, and the locks before it.
	beginWorkSQL = `SAVEPOINT letterbox`
	undoWorkSQL  = `ROLLBACK TO SAVEPOINT letterbox`
	keepWorkSQL  = `RELEASE SAVEPOINT letterbox`
)

// Hold locks due rows in tx, which [HeldTx] began, and returns them, as
// [store.Claim] asks, but without a lease: where a row has an expired one, the
// message carries its old token, else none. What is written from here on can be
// undone by [Table.UndoWork].
func (t *Table) Hold(ctx context.Context, tx pgx.Tx, c store.Claim) (store.Batch, error) {
	b := &pgx.Batch{}
	if c.ExpiredAfter > 0 {
		b.Queue(t.sql.holdExpired, c.Queue, c.Limit, c.ExpiredAfter.Seconds())
	} else {
		b.Queue(t.sql.hold, c.Queue, c.Limit, sinceParam(c.Since))
	}
	t.queueClock(b, c)
	b.Queue(unpinHeldSQL)
	b.Queue(beginWorkSQL)
	res := tx.SendBatch(ctx, b)
	batch, err := readBatch(res, c, true)
	if closed := res.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return store.Batch{}, fmt.Errorf("hold rows of %s: %w", t, err)
	}
	return batch, nil
}

// UndoWork undoes what was written since [Table.Hold] or [Table.KeepWork]. The
// rows stay locked.
func (t *Table) UndoWork(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, undoWorkSQL)
	return err
}

// KeepWork puts what was written out of the reach of a later [Table.UndoWork].
func (t *Table) KeepWork(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, keepWorkSQL+"; "+beginWorkSQL)
	return err
}

// holdAgainSQL locks a row that was held before, unless somebody has it, or has
// had it since.
const holdAgainSQL = `
SELECT id FROM {outbox}
WHERE id = $1 AND acquired_token IS NOT DISTINCT FROM $2::uuid
  AND attempts_count = $3 AND deliveries_count = $4
FOR UPDATE SKIP LOCKED`

// HoldAgain locks in tx a row that another transaction held and gave up. It
// returns false where the row is no longer as it was then. See [Table.Hold].
func (t *Table) HoldAgain(ctx context.Context, tx pgx.Tx, c *store.Claimed) (bool, error) {
	token := pgUUID(c.Token)
	token.Valid = c.Token != uuid.Nil
	rows, err := tx.Query(ctx, t.sql.holdAgain, c.ID, token, c.Attempts, c.Deliveries-1)
	if err != nil {
		return false, err
	}
	ids, err := appendFirst(nil, rows)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, beginWorkSQL)
	return err == nil, err
}

// SettleIn writes outcomes of rows that tx holds. It returns the ids of those
// that took effect, which is all of them. It keeps the work, and fails where the
// handler has ended the transaction behind our back. It pins the planner for the
// rest of the transaction, and so comes last.
func (t *Table) SettleIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) ([]int64, error) {
	b := &pgx.Batch{}
	b.Queue(keepWorkSQL)
	b.Queue(pinSQL)
	settles := t.queueSettles(b, outcomes, true)
	res := tx.SendBatch(ctx, b)
	ids, err := func() ([]int64, error) {
		for range 2 { // keep, pin
			if _, err := res.Exec(); err != nil {
				return nil, err
			}
		}
		return readSettles(res, settles)
	}()
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
	rows, err := tx.Query(ctx, t.sql.bury, buryArgs(outcomes, true)...)
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

// Ended is what the server said when it ended tx and its session without being asked,
// as it does with one that is idle for too long; nil where it has said nothing.
// Without this, a statement that is sent to a closed Unix socket fails and tells no
// reason.
func Ended(tx pgx.Tx) error {
	conn := tx.Conn().PgConn()
	if err := conn.Conn().SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return err
	}
	msg, err := conn.ReceiveMessage(context.Background())
	if said, failed := msg.(*pgproto3.ErrorResponse); failed {
		return pgconn.ErrorResponseToPgError(said)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = nil
	}
	if err != nil {
		return err
	}
	return conn.Conn().SetReadDeadline(time.Time{})
}
