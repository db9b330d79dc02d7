package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Conn runs pipelined statements: a pool, a connection or a transaction.
type Conn interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Store keeps the lease contract on one outbox. It is as safe for concurrent
// use as its connection is.
type Store struct {
	table *Table
	db    Conn
}

var _ store.Store = (*Store)(nil)

// NewStore returns the lease core's view of a table.
func NewStore(t *Table, db Conn) *Store { return &Store{table: t, db: db} }

// pinSQL keeps the planner on the indexes for the rest of the transaction. A
// prepared statement may be planned while the table is empty, when reading all
// of it looks cheapest, and that plan stays in use while a million rows arrive.
// It travels in the same round trip.
const pinSQL = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)`

// pinClaimSQL is pinSQL for a transaction that claims and settles nothing. Nobody
// waits for the disk: a claim that is lost in a crash of the server leaves its row
// as it was, and the worker that has the message finds its lease gone.
const pinClaimSQL = pinSQL + `, set_config('synchronous_commit', 'off', true)`

// rowWait is how long settling waits for a row that somebody has locked: longer than
// an extension or the end of a short transaction takes, and no longer, for all that
// the exchange carries waits with it.
const rowWait = 25 * time.Millisecond

// pinSettleSQL is pinSQL for what settles rows.
var pinSettleSQL = pinSQL + fmt.Sprintf(`, set_config('lock_timeout', '%dms', true)`, rowWait.Milliseconds())

// Exchange implements store.Exchanger. The statements go out in one pipeline
// behind which there is one Sync, so PostgreSQL runs them as one transaction.
func (s *Store) Exchange(ctx context.Context, outcomes []store.Outcome, claims []store.Claim) (done store.Exchanged, err error) {
	locked, err := s.settleAround(ctx, outcomes, func(free []store.Outcome, pin string) (err error) {
		done, err = s.exchange(ctx, free, claims, pin)
		return err
	})
	if err != nil {
		if IsRefusal(err) {
			err = refused{err}
		}
		return store.Exchanged{}, fmt.Errorf("settle %d and claim from %d queues in %s: %w", len(outcomes), len(claims), s.table, err)
	}
	done.Locked = locked
	return done, nil
}

// exchange is one try, with the pin for what settles.
func (s *Store) exchange(ctx context.Context, outcomes []store.Outcome, claims []store.Claim, pin string) (store.Exchanged, error) {
	b := &pgx.Batch{}
	if len(outcomes) > 0 {
		b.Queue(pin)
	} else {
		b.Queue(pinClaimSQL)
	}
	settles := s.table.queueSettles(b, outcomes, false)
	for _, c := range claims {
		s.table.queueClaim(b, c)
	}
	if b.Len() == 1 {
		return store.Exchanged{}, nil
	}
	res := s.db.SendBatch(ctx, b)
	done, err := readExchange(res, settles, claims)
	if closed := res.Close(); err == nil {
		err = closed
	}
	s.failed(err)
	return done, err
}

// refused is an error of the server's that is also [store.ErrRefused], in its own
// words.
type refused struct{ error }

func (e refused) Unwrap() []error { return []error{e.error, store.ErrRefused} }

func readExchange(res pgx.BatchResults, settles int, claims []store.Claim) (done store.Exchanged, err error) {
	if _, err := res.Exec(); err != nil { // the pin
		return done, err
	}
	if done.Settled, err = readSettles(res, settles); err != nil {
		return done, err
	}
	for _, c := range claims {
		batch, err := readBatch(res, c, false)
		if err != nil {
			return done, err
		}
		done.Batches = append(done.Batches, batch)
	}
	return done, nil
}

// readSettles reads the answers to what queueSettles has sent.
func readSettles(res pgx.BatchResults, settles int) (ids []int64, err error) {
	for range settles {
		rows, err := res.Query()
		if err != nil {
			return nil, err
		}
		if ids, err = appendFirst(ids, rows); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Return implements store.Returner.
func (s *Store) Return(ctx context.Context, queues []string, tokens []uuid.UUID) error {
	if len(queues) == 0 || len(tokens) == 0 {
		return nil
	}
	list := make([]pgtype.UUID, len(tokens))
	for i, t := range tokens {
		list[i] = pgUUID(t)
	}
	_, err := s.ids(ctx, pinSQL, s.table.sql.giveBack, queues, list)
	return err
}

// lookSQL is one probe of each index for each queue, all in one statement. It is
// all that an idle worker sends, so it also asks whether the server takes writes.
const lookSQL = `
SELECT CASE WHEN isfinite(due.at) THEN extract(epoch FROM due.at - now())
            WHEN due.at < now() THEN 0 END::float8,
       EXISTS (SELECT 1 FROM {outbox} AS o
               WHERE o.queue = q.queue AND o.acquired_token IS NOT NULL
                 AND o.acquired_at < now() - make_interval(secs => q.expired)),
       ` + writesSQL + `
FROM unnest($1::text[], $2::float8[]) WITH ORDINALITY AS q(queue, expired, ord)
LEFT JOIN LATERAL (
  SELECT o.next_attempt_at AS at FROM {outbox} AS o
  WHERE o.queue = q.queue AND o.acquired_token IS NULL
  ORDER BY o.next_attempt_at
  LIMIT 1
) AS due ON true
ORDER BY q.ord`

// Look implements store.Looker. A server that takes no writes is an error: what it
// holds may be old.
func (s *Store) Look(ctx context.Context, queues []store.Watch) ([]store.Outlook, error) {
	if len(queues) == 0 {
		return nil, nil
	}
	names := make([]string, len(queues))
	expired := make([]*float64, len(queues)) // null: compares as unknown, so never expired
	for i, w := range queues {
		names[i] = w.Queue
		if w.ExpiredAfter > 0 {
			secs := w.ExpiredAfter.Seconds()
			expired[i] = &secs
		}
	}
	out := make([]store.Outlook, 0, len(queues))
	err := s.query(ctx, pinSQL, s.table.sql.look, []any{names, expired}, func(rows pgx.Rows) error {
		for rows.Next() {
			o := store.Outlook{Queue: queues[len(out)].Queue}
			var (
				next   *float64
				writes bool
			)
			if err := rows.Scan(&next, &o.Expired, &writes); err != nil {
				return err
			}
			if !writes {
				return errNoWrites
			}
			if next != nil {
				o.HasNext, o.NextDue = true, seconds(*next)
			}
			out = append(out, o)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("look at %d queues in %s: %w", len(queues), s.table, err)
	}
	return out, nil
}

// ids runs a statement behind a pin whose first column is an id.
func (s *Store) ids(ctx context.Context, pin, sql string, args ...any) (ids []int64, err error) {
	err = s.query(ctx, pin, sql, args, func(rows pgx.Rows) error {
		ids, err = appendFirst(nil, rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write to %s: %w", s.table, err)
	}
	return ids, nil
}

// query runs one statement behind a pin, in one round trip.
func (s *Store) query(ctx context.Context, pin, sql string, args []any, read func(pgx.Rows) error) error {
	b := &pgx.Batch{}
	b.Queue(pin)
	b.Queue(sql, args...)
	res := s.db.SendBatch(ctx, b)
	err := func() error {
		if _, err := res.Exec(); err != nil {
			return err
		}
		rows, err := res.Query()
		if err != nil {
			return err
		}
		defer rows.Close()
		return read(rows)
	}()
	if closed := res.Close(); err == nil {
		err = closed
	}
	s.failed(err)
	return err
}

// failed gives up the connections to a server that takes no writes: after a
// failover a pool may be full of them, and none breaks by itself.
func (s *Store) failed(err error) {
	if pool, ok := s.db.(interface{ Reset() }); ok && IsReadOnly(err) {
		pool.Reset()
	}
}

// appendFirst collects the first column of all rows.
func appendFirst(ids []int64, rows pgx.Rows) ([]int64, error) {
	defer rows.Close()
	var id int64
	into := []any{&id}
	if len(rows.FieldDescriptions()) > 1 {
		into = append(into, nil) // what follows the id is of no interest
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
