package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/letterbox-go/letterbox/internal/store"
)

// scheduleTimersSQL takes its rows as publishManySQL does, already in the order
// of queue and timer id: batches that meet then wait for each other in one
// order, and cannot deadlock. convert_from gives text of collation C, in which
// the index is not sorted: hence COLLATE. The last column tells which rows were
// added where that does not follow from the rest: when somebody was faster.
var scheduleTimersSQL = `
WITH item AS MATERIALIZED (
  SELECT u.*, o.id AS old, ` + micros("o.next_attempt_at") + ` AS old_due,
         o.acquired_token IS NOT NULL AS old_leased, o.attempts_count AS old_attempts
  FROM (
    SELECT ord, convert_from(substr($1::bytea, s, ql), 'UTF8') COLLATE "default" AS queue,
           convert_from(substr($1::bytea, s + ql, il), 'UTF8') COLLATE "default" AS timer_id,
           substr($1::bytea, s + ql + il, pl) AS payload,
           convert_from(substr($1::bytea, s + ql + il + pl, hl), 'UTF8')::jsonb AS headers,
           GREATEST(now(), COALESCE(at, now() + make_interval(secs => COALESCE(delay, 0)))) AS due
    FROM ROWS FROM (unnest($2::text::int[]), unnest($3::text::int[]), unnest($4::text::int[]),
                    unnest($5::text::int[]), unnest($6::text::int[]), unnest($7::text::float8[]),
                    unnest($8::text::timestamptz[]), generate_series(1, $9::int))
         AS u(s, ql, il, pl, hl, delay, at, ord)
  ) AS u
  LEFT JOIN LATERAL (
    SELECT * FROM {outbox} AS o WHERE o.queue = u.queue AND o.timer_id = u.timer_id LIMIT 1
  ) AS o ON true
), added AS (
  INSERT INTO {outbox} (queue, timer_id, payload, headers, next_attempt_at)
  SELECT queue, timer_id, payload, headers, due FROM item WHERE old IS NULL ORDER BY ord
  ON CONFLICT (queue, timer_id) WHERE timer_id IS NOT NULL DO NOTHING
  RETURNING id, queue, timer_id, next_attempt_at
), told AS (
  SELECT count({tell:queue}) AS n
  FROM (SELECT DISTINCT queue FROM added) AS q
)
SELECT (SELECT string_agg(id || ':' || ` + micros("next_attempt_at") + `, ',' ORDER BY id) FROM added),
       (SELECT string_agg(concat_ws(':', ord, old, old_leased::int, old_attempts, old_due), ',' ORDER BY ord)
        FROM item WHERE old IS NOT NULL),
       CASE WHEN (SELECT count(*) FROM added) < (SELECT count(*) FROM item WHERE old IS NULL)
            THEN (SELECT COALESCE(string_agg(ord::text, ',' ORDER BY id), '')
                  FROM added JOIN item USING (queue, timer_id)) END,
       (SELECT n FROM told)`

// The look for what is there is planned once for thousands of rows, and on a
// table that has just been vacuumed empty, as an outbox often is, reading all of
// it looks cheapest: 10,000 timers took seconds. These keep the planner on the
// index for the length of a batch, at the price of two round trips.
const (
	pinTimersSQL = `SELECT set_config('letterbox.seqscan', current_setting('enable_seqscan'), true)
       || set_config('enable_seqscan', 'off', true)`
	unpinTimersSQL = `SELECT set_config('enable_seqscan', current_setting('letterbox.seqscan'), true)`
	// pinFrom is how many timers are worth the round trips.
	pinFrom = 100
)

// ScheduleTimers inserts timers, each unless there is one of its queue and id, in
// one statement per few thousand. The drafts are distinct and in the order of
// queue and id; the answers come in that order.
func (t *Table) ScheduleTimers(ctx context.Context, tx Rower, drafts []store.Draft) ([]store.Written, error) {
	if len(drafts) < pinFrom {
		return t.scheduleAll(ctx, tx, drafts)
	}
	var was string
	if err := tx.QueryRow(ctx, pinTimersSQL).Scan(&was); err != nil {
		return nil, err
	}
	out, err := t.scheduleAll(ctx, tx, drafts)
	if err != nil {
		return nil, err // the transaction has failed, and the setting ends with it
	}
	return out, tx.QueryRow(ctx, unpinTimersSQL).Scan(&was)
}

func (t *Table) scheduleAll(ctx context.Context, tx Rower, drafts []store.Draft) ([]store.Written, error) {
	out := make([]store.Written, len(drafts))
	open := make([]int, len(drafts)) // what has no answer yet
	for i := range open {
		open[i] = i
	}
	for range tries {
		var again []int
		for len(open) > 0 {
			part := make([]store.Draft, 0, min(len(open), chunkRows))
			for _, i := range open[:cap(part)] {
				part = append(part, drafts[i])
			}
			n := chunk(part)
			left, err := t.scheduleTimers(ctx, tx, part[:n], open[:n], out)
			if err != nil {
				return nil, err
			}
			again = append(again, left...)
			open = open[n:]
		}
		if open = again; len(open) == 0 {
			return out, nil
		}
	}
	return nil, errContended
}

// scheduleTimers sends one statement. at says where in out the answers go; those
// that got none are returned.
func (t *Table) scheduleTimers(ctx context.Context, tx Rower, drafts []store.Draft, at []int, out []store.Written) (left []int, err error) {
	j := joinTimers(drafts)
	var added, found, which *string
	var told int64
	err = tx.QueryRow(ctx, t.sql.timers.scheduleMany, j.bytes, j.start.String(), j.queue.String(), j.timer.String(), j.payload.String(),
		j.headers.String(), j.delay.String(), j.at.String(), len(drafts)).Scan(&added, &found, &which, &told)
	if err != nil {
		return nil, err
	}
	answered := make([]bool, len(drafts))
	if err := readFound(found, at, out, answered); err != nil {
		return nil, fmt.Errorf("read the timers that were there: %w", err)
	}
	news, err := readAdded(added)
	if err != nil {
		return nil, fmt.Errorf("read the timers that were added: %w", err)
	}
	switch {
	case which == nil: // all the others were added, in their order
		for i := range drafts {
			if !answered[i] && len(news) > 0 {
				out[at[i]], news = news[0], news[1:]
			}
		}
		return nil, nil
	case *which != "":
		ords, err := appendIDs(nil, *which, len(news))
		if err != nil {
			return nil, err
		}
		for k, ord := range ords {
			out[at[ord-1]], answered[ord-1] = news[k], true
		}
	}
	for i, done := range answered {
		if !done {
			left = append(left, at[i])
		}
	}
	return left, nil
}

// readFound reads "ord:id:leased:attempts:due,...", the last part missing where
// the column holds an infinity.
func readFound(list *string, at []int, out []store.Written, answered []bool) error {
	if list == nil {
		return nil
	}
	for part := range strings.SplitSeq(*list, ",") {
		n, err := readInts(part)
		if err != nil {
			return err
		}
		if len(n) < 4 || n[0] < 1 || n[0] > int64(len(at)) {
			return fmt.Errorf("%q is no answer for one of %d", part, len(at))
		}
		f := &store.Timer{ID: n[1], Leased: n[2] == 1, Attempts: n[3]}
		if len(n) == 5 {
			f.DueAt = fromMicros(&n[4])
		}
		out[at[n[0]-1]], answered[n[0]-1] = store.Written{Found: f}, true
	}
	return nil
}

// readAdded reads "id:due,id:due".
func readAdded(list *string) ([]store.Written, error) {
	if list == nil {
		return nil, nil
	}
	out := make([]store.Written, 0, 1+strings.Count(*list, ","))
	for part := range strings.SplitSeq(*list, ",") {
		n, err := readInts(part)
		if err != nil {
			return nil, err
		}
		if len(n) != 2 {
			return nil, fmt.Errorf("%q is no id and due time", part)
		}
		out = append(out, store.Written{ID: n[0], DueAt: fromMicros(&n[1])})
	}
	return out, nil
}

// readInts reads "1:2:3".
func readInts(list string) ([]int64, error) {
	ns := make([]int64, 0, 5)
	for part := range strings.SplitSeq(list, ":") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, err
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// joinedTimers is a batch in the form that scheduleTimersSQL takes.
type joinedTimers struct {
	bytes                                            []byte
	start, queue, timer, payload, headers, delay, at array
}

func joinTimers(drafts []store.Draft) *joinedTimers {
	size, delays, times := 0, false, false
	for i := range drafts {
		d := &drafts[i]
		size += len(d.Queue) + len(d.TimerID) + len(d.Payload) + len(d.Headers)
		delays = delays || d.Delay != 0
		times = times || !d.At.IsZero()
	}
	j := &joinedTimers{bytes: make([]byte, 0, size)}
	for i := range drafts {
		d := &drafts[i]
		j.start.int(len(j.bytes) + 1)
		j.queue.int(len(d.Queue))
		j.timer.int(len(d.TimerID))
		j.payload.int(len(d.Payload))
		j.headers.int(len(d.Headers))
		if delays {
			j.delay.float(d.Delay.Seconds())
		}
		if times {
			j.at.time(d.At)
		}
		j.bytes = append(j.bytes, d.Queue...)
		j.bytes = append(j.bytes, d.TimerID...)
		j.bytes = append(j.bytes, d.Payload...)
		j.bytes = append(j.bytes, d.Headers...)
	}
	return j
}
