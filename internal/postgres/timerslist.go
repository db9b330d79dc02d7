package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// timerFilterArgs are $1 to $5. Bounds that are not set are infinite ones: a comparison
// with a value, not with NULL, is what an index can serve.
func timerFilterArgs(f *store.TimerFilter) []any {
	var queue *string
	if f.Queue != "" {
		queue = &f.Queue
	}
	from, until := "-infinity", "infinity"
	if !f.DueFrom.IsZero() { // the column has microseconds
		from = timestamp(f.DueFrom.Add(time.Microsecond - 1))
	}
	if !f.DueBefore.IsZero() { // the last one before it
		until = timestamp(f.DueBefore.Add(-1))
	}
	return []any{queue, f.Prefix, from, until, f.Running}
}

// timerQueuesSQL names the queues that have timers by going from one to the next
// on <t>_timer_id_uq, however many timers lie between; or it is just $1.
const timerQueuesSQL = `
WITH RECURSIVE name AS (
  SELECT COALESCE($1::text, (SELECT min(queue) FROM {outbox} WHERE timer_id IS NOT NULL)) AS queue
  UNION ALL
  SELECT (SELECT min(o.queue) FROM {outbox} AS o WHERE o.queue > n.queue AND o.timer_id IS NOT NULL)
  FROM name AS n WHERE n.queue IS NOT NULL AND $1::text IS NULL
)`

// timerConditionsSQL is the filter but for its queue. The timer id is asked for in
// a way that no index serves: a list must be read in the order of due times off
// <t>_pending_idx, and by what it knows of a table that has just filled, the
// planner may prefer to sort all timers off <t>_timer_id_uq.
const timerConditionsSQL = `
      AND COALESCE(o.timer_id, '') <> '' AND starts_with(COALESCE(o.timer_id, ''), $2::text)
      AND o.next_attempt_at >= $3::text::timestamptz AND o.next_attempt_at <= $4::text::timestamptz`

// timerFieldsSQL is a row as JSON but for its payload, of which it has the
// length: the payloads of a page come end to end.
var timerFieldsSQL = `json_build_array(o.id, o.queue, o.timer_id, length(o.payload), o.headers,
         CASE WHEN ` + countable("o.next_attempt_at") + ` THEN (extract(epoch FROM o.next_attempt_at) * 1000000)::bigint::text
              WHEN o.next_attempt_at > now() THEN 'infinity' ELSE '-infinity' END,
         ` + micros("o.created_at") + `, ` + micros("o.acquired_at") + `, ` + micros("o.first_attempt_at") + `, ` + micros("o.last_attempt_at") + `,
         o.acquired_token IS NOT NULL, o.attempts_count, o.deliveries_count)`

// listTimersSQL takes a page of each queue off <t>_pending_idx, which is in the
// order of due times, and of these the page. WITH TIES, because the index does not
// order equal ones by id. Those that are leased, which are few, come off
// <t>_lease_idx. No row is locked.
var listTimersSQL = timerQueuesSQL + `, page AS MATERIALIZED (
  SELECT found.id, found.next_attempt_at
  FROM generate_series(1, $9::int)
  CROSS JOIN name
  CROSS JOIN LATERAL (
    (SELECT o.id, o.next_attempt_at FROM {outbox} AS o
     WHERE o.queue = name.queue AND o.acquired_token IS NULL` + timerConditionsSQL + `
      AND (o.next_attempt_at, o.id) > ($6::text::timestamptz, $7::bigint)
     ORDER BY o.next_attempt_at
     FETCH FIRST ($8::int) ROWS WITH TIES)
    UNION ALL
    (SELECT o.id, o.next_attempt_at FROM {outbox} AS o
     WHERE o.queue = name.queue AND o.acquired_token IS NOT NULL AND $5::bool` + timerConditionsSQL + `
      AND (o.next_attempt_at, o.id) > ($6::text::timestamptz, $7::bigint))
  ) AS found
  ORDER BY found.next_attempt_at, found.id
  LIMIT $8::int
)
SELECT json_agg(` + timerFieldsSQL + ` ORDER BY o.next_attempt_at, o.id)::text,
       string_agg(o.payload, ''::bytea ORDER BY o.next_attempt_at, o.id)
FROM page JOIN {outbox} AS o ON o.id = page.id`

var getTimerSQL = `
SELECT ` + timerFieldsSQL + `::text, o.payload
FROM generate_series(1, $3::int)
CROSS JOIN LATERAL (SELECT * FROM {outbox} WHERE queue = $1::text AND timer_id = $2::text LIMIT 1) AS o`

// ListTimers returns up to limit timers beyond a place, by due time, then id.
func (t *Table) ListTimers(ctx context.Context, db Rower, f store.TimerFilter, beyond store.TimerPlace, limit int) ([]store.StoredTimer, error) {
	due := "-infinity"
	switch us, err := strconv.ParseInt(beyond.Due, 10, 64); {
	case err == nil:
		due = timestamp(fromMicros(&us))
	case beyond.Due != "":
		due = beyond.Due
	}
	id := beyond.ID
	if beyond == (store.TimerPlace{}) {
		id = -1 << 63
	}
	var rows *string
	var payloads []byte
	args := append(timerFilterArgs(&f), due, id, limit, 1)
	if err := db.QueryRow(ctx, t.sql.timers.list, args...).Scan(&rows, &payloads); err != nil || rows == nil {
		return nil, err
	}
	return readStored(*rows, payloads)
}

// readStored takes rows and their payloads apart.
func readStored(rows string, payloads []byte) ([]store.StoredTimer, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(rows), &raw); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	out := make([]store.StoredTimer, len(raw))
	for i := range raw {
		n, err := readTimer(&out[i], raw[i])
		if err != nil {
			return nil, fmt.Errorf("read a row: %w", err)
		}
		if n > len(payloads) {
			return nil, fmt.Errorf("read a row: %d bytes of its payload are missing", n-len(payloads))
		}
		out[i].Payload, payloads = payloads[:n:n], payloads[n:]
	}
	return out, nil
}

// GetTimer reads one timer; nil: there is none.
func (t *Table) GetTimer(ctx context.Context, db Rower, queue, id string) (*store.StoredTimer, error) {
	var row string
	var s store.StoredTimer
	err := db.QueryRow(ctx, t.sql.timers.get, queue, id, 1).Scan(&row, &s.Payload)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := readTimer(&s, json.RawMessage(row)); err != nil {
		return nil, fmt.Errorf("read a timer: %w", err)
	}
	return &s, nil
}

// readTimer takes in what timerFieldsSQL wrote, and returns the payload's length.
func readTimer(s *store.StoredTimer, row json.RawMessage) (payload int, err error) {
	var headers json.RawMessage
	var created, claimed, first, last *int64
	fields := []any{&s.ID, &s.Queue, &s.TimerID, &payload, &headers, &s.Due, &created, &claimed, &first, &last,
		&s.Leased, &s.Attempts, &s.Deliveries}
	want := len(fields)
	if err := json.Unmarshal(row, &fields); err != nil {
		return 0, err
	}
	if len(fields) != want {
		return 0, fmt.Errorf("%d fields, not %d", len(fields), want)
	}
	if string(headers) != "null" {
		s.Headers = headers
	}
	if us, err := strconv.ParseInt(s.Due, 10, 64); err == nil {
		s.DueAt = fromMicros(&us)
	}
	s.CreatedAt, s.ClaimedAt = fromMicros(created), fromMicros(claimed)
	s.FirstAttempt, s.LastAttempt = fromMicros(first), fromMicros(last)
	return payload, nil
}

// countTimersSQL reads all timers that match.
const countTimersSQL = timerQueuesSQL + `
SELECT count(*) FILTER (WHERE o.acquired_token IS NULL),
       count(*) FILTER (WHERE o.acquired_token IS NULL AND o.next_attempt_at <= now()),
       count(*) FILTER (WHERE o.acquired_token IS NULL AND o.attempts_count > 0),
       count(*) FILTER (WHERE o.acquired_token IS NOT NULL)
FROM generate_series(1, $6::int)
CROSS JOIN name
JOIN {outbox} AS o ON o.queue = name.queue AND (o.acquired_token IS NULL OR $5::bool)` + timerConditionsSQL

// CountTimers counts the timers that match.
func (t *Table) CountTimers(ctx context.Context, db Rower, f store.TimerFilter) (c store.TimerCount, err error) {
	err = db.QueryRow(ctx, t.sql.timers.count, append(timerFilterArgs(&f), 1)...).Scan(&c.Waiting, &c.Due, &c.Retrying, &c.Running)
	return c, err
}

// nextTimerSQL probes <t>_pending_idx of each queue.
var nextTimerSQL = timerQueuesSQL + `
SELECT ` + micros("min(next.at)") + `
FROM generate_series(1, $2::int)
CROSS JOIN name
CROSS JOIN LATERAL (
  SELECT o.next_attempt_at AS at FROM {outbox} AS o
  WHERE o.queue = name.queue AND o.acquired_token IS NULL AND COALESCE(o.timer_id, '') <> ''
    AND o.next_attempt_at > '-infinity' AND o.next_attempt_at < 'infinity'
  ORDER BY o.next_attempt_at
  LIMIT 1
) AS next`

// NextTimer is when the next timer of a queue, or of all, that is not leased is
// due; zero if there is none.
func (t *Table) NextTimer(ctx context.Context, db Rower, queue string) (time.Time, error) {
	var name *string
	if queue != "" {
		name = &queue
	}
	var due *int64
	if err := db.QueryRow(ctx, t.sql.timers.nextDue, name, 1).Scan(&due); err != nil {
		return time.Time{}, err
	}
	return fromMicros(due), nil
}
