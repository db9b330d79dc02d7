package postgres

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// claimSQL takes due rows off <t>_pending_idx in its own order. The order is
// next_attempt_at alone: a bulk insert gives all its rows one due time, and a
// tie-break by id would sort the whole backlog on each claim (measured: 5 times
// slower at 100k rows, 30 times at 1M). The few rows taken are sorted here.
//
// The rows are locked, so they stay where they are, and are written at their place
// (measured: a join by the primary key makes a claim 1.18 times as long). One that
// somebody changed and committed since the statement began is not at the place
// where its snapshot has it: it is passed over, as if it had been committed later.
const claimSQL = `
UPDATE {outbox} AS o
SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
WHERE o.ctid = ANY (ARRAY(
  SELECT ctid FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NULL
    AND next_attempt_at <= now() AND next_attempt_at >= $4::timestamptz
    AND {unpaused}
  ORDER BY next_attempt_at
  LIMIT $2
  FOR UPDATE SKIP LOCKED))
RETURNING o.id, o.payload, o.headers, o.timer_id, o.attempts_count, o.deliveries_count,
          o.created_at, o.next_attempt_at, o.first_attempt_at, o.last_attempt_at`

// clockSQL follows each claim in the same transaction: when that was, when the next
// row is due, and whether one that is due was passed over. The first probe starts at
// now(), behind every dead index entry of rows already taken. In the claim itself it
// would make PostgreSQL put all rows aside before it sends the first (measured: a
// seventh of a held batch's buffers).
//
// The second probe walks down from now() to where the claim began: after one that
// left a backlog it ends at the first row, else it meets what the claim met
// (measured: a fortieth of the claim's time). Rows that a hold has locked are still
// pending; their xmax is the transaction's own.
const clockSQL = `
SELECT now(), CASE WHEN isfinite(next.at) THEN extract(epoch FROM next.at - now()) END::float8,
       (SELECT max(next_attempt_at) FROM {outbox}
        WHERE queue = $1 AND acquired_token IS NULL
          AND next_attempt_at <= now() AND next_attempt_at >= $2::timestamptz
          AND xmax IS DISTINCT FROM pg_current_xact_id_if_assigned()::xid) IS NOT NULL
       AND {unpaused}
FROM (
  SELECT min(next_attempt_at) AS at FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NULL AND next_attempt_at > now()
) AS next`

// claimExpiredSQL takes rows whose lease has run out, off <t>_lease_idx. It is
// a statement of its own because one with OR can use neither index in order
// (measured: 15 times slower at 1M rows).
const claimExpiredSQL = `
UPDATE {outbox} AS o
SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
WHERE o.ctid = ANY (ARRAY(
  SELECT ctid FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NOT NULL
    AND acquired_at < now() - make_interval(secs => $4::float8)
    AND {unpaused}
  ORDER BY acquired_at
  LIMIT $2
  FOR UPDATE SKIP LOCKED))
RETURNING o.id, o.payload, o.headers, o.timer_id, o.attempts_count, o.deliveries_count,
          o.created_at, o.next_attempt_at, o.first_attempt_at, o.last_attempt_at`

// queueClaim adds the statements of one claim to the batch; readBatch reads their
// answers.
func (t *Table) queueClaim(b *pgx.Batch, c store.Claim) {
	if c.ExpiredAfter > 0 {
		b.Queue(t.sql.claimExpired, c.Queue, c.Limit, pgUUID(c.Token), c.ExpiredAfter.Seconds())
	} else {
		b.Queue(t.sql.claim, c.Queue, c.Limit, pgUUID(c.Token), sinceParam(c.Since))
	}
	t.queueClock(b, c)
}

// queueClock adds what follows the claim, or hold, itself.
func (t *Table) queueClock(b *pgx.Batch, c store.Claim) {
	since := sinceParam(c.Since)
	if c.ExpiredAfter > 0 { // such a claim passes over nothing that is due
		since.InfinityModifier = pgtype.Infinity
	}
	b.Queue(t.sql.clock, c.Queue, since)
}

// readBatch reads the answers to a claim, or, held, to a hold, which gives each
// row's own token instead of writing one.
func readBatch(res pgx.BatchResults, c store.Claim, held bool) (store.Batch, error) {
	var batch store.Batch
	rows, err := res.Query()
	if err != nil {
		return batch, err
	}
	if batch.Messages, err = readClaimed(rows, c, held); err != nil {
		return batch, err
	}
	var (
		now  instant
		next *float64
		over bool
	)
	if err := res.QueryRow().Scan(&now, &next, &over); err != nil {
		return batch, err
	}
	for i := range batch.Messages {
		batch.Messages[i].ClaimedAt = now.Time
	}
	if len(batch.Messages) == c.Limit || c.ExpiredAfter > 0 {
		return batch, nil
	}
	batch.PassedOver = over
	if next != nil {
		batch.HasNext, batch.NextDue = true, seconds(*next)
	}
	return batch, nil
}

func readClaimed(rows pgx.Rows, c store.Claim, held bool) ([]store.Claimed, error) {
	defer rows.Close()
	var (
		messages []store.Claimed
		m        store.Claimed
		timer    *string
		packed   packer

		created, due, first, last instant

		token pgtype.UUID
	)
	into := []any{&m.ID, packed.into(&m.Payload), packed.into(&m.Headers), &timer, &m.Attempts, &m.Deliveries,
		&created, &due, &first, &last}
	if held {
		into = slices.Insert(into, 1, any(&token))
	}
	for rows.Next() {
		m = store.Claimed{Lease: store.Lease{Token: c.Token}}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("read a claimed row: %w", err)
		}
		if held {
			m.Token = token.Bytes
		}
		m.Queue = c.Queue
		m.CreatedAt, m.DueAt = created.Time, due.Time
		m.FirstAttemptAt, m.LastAttemptAt = first.Time, last.Time
		if timer != nil {
			m.TimerID = *timer
		}
		if n := len(messages); n == cap(messages) {
			messages = slices.Grow(messages, growth(n, c.Limit))
		}
		messages = append(messages, m)
	}
	slices.SortFunc(messages, func(a, b store.Claimed) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	return messages, rows.Err()
}

// growth is how much room to make for more than n rows, of at most limit: append
// would copy them all a dozen times. Few rows get little, and of many there are most
// often all that were asked for.
func growth(n, limit int) int {
	const few, many = 8, 128
	switch {
	case n < few:
		return few
	case n < many:
		limit = min(many, limit)
	}
	return max(1, limit-n)
}

// packer puts small values of many rows into one piece of memory.
type packer struct{ free []byte }

const (
	packSize = 8 << 10 // what one message that stays can keep of the others
	packMost = 1 << 10 // larger values have memory of their own
)

func (p *packer) copy(v []byte) []byte {
	if len(v) > packMost {
		return bytes.Clone(v)
	}
	if p.free == nil || len(v) > cap(p.free)-len(p.free) {
		p.free = make([]byte, 0, packSize)
	}
	from := len(p.free)
	p.free = append(p.free, v...)
	return p.free[from:len(p.free):len(p.free)]
}

// into is a destination of Scan.
func (p *packer) into(dst *[]byte) pgtype.BytesScanner { return &packed{p, dst} }

type packed struct {
	*packer
	dst *[]byte
}

// ScanBytes implements pgtype.BytesScanner.
func (p *packed) ScanBytes(v []byte) error {
	*p.dst = nil
	if v != nil {
		*p.dst = p.copy(v)
	}
	return nil
}

// instant reads a timestamptz that may be null or infinite, both of which are
// legal in a table that others write to; they read as the zero time.
type instant struct{ time.Time }

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (i *instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	i.Time = time.Time{}
	if v.Valid && v.InfinityModifier == pgtype.Finite {
		i.Time = v.Time.UTC()
	}
	return nil
}

// seconds turns a float of SQL into a duration, saturating.
func seconds(s float64) time.Duration {
	const most = float64(1<<63-1) / float64(time.Second)
	switch {
	case s >= most:
		return 1<<63 - 1
	case s <= -most:
		return -1 << 63
	}
	return time.Duration(s * float64(time.Second))
}

func pgUUID(u uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: u, Valid: true} }
