package postgres

import (
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
// Only a claim that came up short asks when the next row is due. That probe
// starts at now(), behind every dead index entry of rows already taken.
const claimSQL = `
WITH due AS MATERIALIZED (
  SELECT id FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NULL
    AND next_attempt_at <= now() AND next_attempt_at >= $4::timestamptz
  ORDER BY next_attempt_at
  LIMIT $2
  FOR UPDATE SKIP LOCKED
), claimed AS (
  UPDATE {outbox} AS o
  SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
  FROM due WHERE o.id = due.id
  RETURNING o.id, o.payload, o.headers, o.timer_id, o.attempts_count, o.deliveries_count,
            o.created_at, o.next_attempt_at, o.first_attempt_at, o.last_attempt_at
), next AS (
  SELECT min(next_attempt_at) AS at FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NULL AND next_attempt_at > now()
)
SELECT claimed.*, now(), short.next_due
FROM (SELECT CASE WHEN (SELECT count(*) FROM due) < $2
                  THEN (SELECT CASE WHEN isfinite(at) THEN extract(epoch FROM at - now()) END FROM next)
             END::float8 AS next_due) AS short
LEFT JOIN claimed ON true`

// claimExpiredSQL takes rows whose lease has run out, off <t>_lease_idx. It is
// a statement of its own because one with OR can use neither index in order
// (measured: 15 times slower at 1M rows).
const claimExpiredSQL = `
WITH due AS MATERIALIZED (
  SELECT id FROM {outbox}
  WHERE queue = $1 AND acquired_token IS NOT NULL
    AND acquired_at < now() - make_interval(secs => $4::float8)
  ORDER BY acquired_at
  LIMIT $2
  FOR UPDATE SKIP LOCKED
)
UPDATE {outbox} AS o
SET acquired_token = $3, acquired_at = now(), deliveries_count = o.deliveries_count + 1
FROM due WHERE o.id = due.id
RETURNING o.id, o.payload, o.headers, o.timer_id, o.attempts_count, o.deliveries_count,
          o.created_at, o.next_attempt_at, o.first_attempt_at, o.last_attempt_at, now(), NULL::float8`

// queueClaim adds the statement of one claim to the batch; readBatch reads its
// answer.
func (t *Table) queueClaim(b *pgx.Batch, c store.Claim) {
	if c.ExpiredAfter > 0 {
		b.Queue(t.sql.claimExpired, c.Queue, c.Limit, pgUUID(c.Token), c.ExpiredAfter.Seconds())
		return
	}
	b.Queue(t.sql.claim, c.Queue, c.Limit, pgUUID(c.Token), sinceParam(c.Since))
}

// readBatch reads rows of a claim, or, held, of a hold, which gives each row's
// own token instead of writing one.
func readBatch(rows pgx.Rows, c store.Claim, held bool) (store.Batch, error) {
	defer rows.Close()
	var (
		batch store.Batch
		id    *int64
		next  *float64
		timer *string
		m     store.Claimed

		attempts, deliveries                 *int64
		created, due, first, last, claimedAt instant

		token pgtype.UUID
	)
	into := []any{&id, &m.Payload, &m.Headers, &timer, &attempts, &deliveries,
		&created, &due, &first, &last, &claimedAt, &next}
	if held {
		into = slices.Insert(into, 1, any(&token))
	}
	for rows.Next() {
		m = store.Claimed{}
		if err := rows.Scan(into...); err != nil {
			return store.Batch{}, fmt.Errorf("read a claimed row: %w", err)
		}
		if next != nil {
			batch.HasNext, batch.NextDue = true, seconds(*next)
		}
		if id == nil { // nothing was claimed: the row only says what is next
			continue
		}
		m.Lease = store.Lease{ID: *id, Token: c.Token}
		if held {
			m.Token = token.Bytes
		}
		m.Queue = c.Queue
		m.Attempts, m.Deliveries = *attempts, *deliveries
		m.CreatedAt, m.DueAt, m.ClaimedAt = created.Time, due.Time, claimedAt.Time
		m.FirstAttemptAt, m.LastAttemptAt = first.Time, last.Time
		if timer != nil {
			m.TimerID = *timer
		}
		batch.Messages = append(batch.Messages, m)
	}
	slices.SortFunc(batch.Messages, func(a, b store.Claimed) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	return batch, rows.Err()
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
