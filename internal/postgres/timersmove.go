package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// rescheduleTimerSQL changes the timer that waits, or inserts one where there is
// none. The row is locked first, if that can be had at once; then ON CONFLICT,
// which finds it by the unique index, has nothing to wait for. $8 says which due
// time holds, as store.Keep does; $9 bounds it, in seconds after the row was
// created. A row that waits for a retry has had its time: it counts as new.
var rescheduleTimerSQL = `
WITH free AS MATERIALIZED (
  SELECT id, next_attempt_at, attempts_count FROM {outbox}
  WHERE queue = $1::text AND timer_id = $2::text AND acquired_at IS NULL
  FOR UPDATE SKIP LOCKED
), written AS (
  INSERT INTO {outbox} AS o (queue, timer_id, payload, headers, next_attempt_at)
  SELECT $1::text, $2::text, $3::bytea, $4::text::jsonb, ` + timerDueSQL + `
  FROM generate_series(1, $7::int)
  WHERE EXISTS (SELECT FROM free)
     OR NOT EXISTS (SELECT FROM {outbox} WHERE queue = $1::text AND timer_id = $2::text)
  ON CONFLICT (queue, timer_id) WHERE timer_id IS NOT NULL DO UPDATE
  SET payload = excluded.payload, headers = excluded.headers,
      next_attempt_at = LEAST(
        CASE $8::int WHEN 1 THEN LEAST(o.next_attempt_at, excluded.next_attempt_at)
                     WHEN 2 THEN GREATEST(o.next_attempt_at, excluded.next_attempt_at)
                     ELSE excluded.next_attempt_at END,
        GREATEST(now(), CASE WHEN o.attempts_count > 0 THEN now() ELSE o.created_at END
                        + make_interval(secs => $9::float8),
                 CASE WHEN $9::float8 IS NULL THEN 'infinity'::timestamptz END)),
      created_at = CASE WHEN o.attempts_count > 0 THEN now() ELSE o.created_at END,
      attempts_count = 0, deliveries_count = 0, first_attempt_at = NULL, last_attempt_at = NULL
  WHERE o.id = (SELECT id FROM free)
  RETURNING o.id, o.next_attempt_at
)
SELECT w.id, ` + micros("w.next_attempt_at") + `, CASE WHEN w.id IS NOT NULL THEN {tell:$1::text} END,
       f.id, ` + micros("f.next_attempt_at") + `, f.attempts_count
FROM (SELECT) AS one LEFT JOIN written AS w ON true LEFT JOIN free AS f ON true`

// rearmTimerSQL takes the timer id from the row that is running, whose lease
// stays as it is, and gives it to a new one. The INSERT reads what the UPDATE
// returns, so the id is free by then.
var rearmTimerSQL = `
WITH running AS MATERIALIZED (
  SELECT id, next_attempt_at, attempts_count FROM {outbox}
  WHERE queue = $1::text AND timer_id = $2::text AND acquired_at IS NOT NULL
  FOR UPDATE SKIP LOCKED
), parted AS (
  UPDATE {outbox} AS o SET timer_id = NULL
  FROM running, generate_series(1, $7::int)
  WHERE o.id = running.id
  RETURNING o.id
), added AS (
  INSERT INTO {outbox} (queue, timer_id, payload, headers, next_attempt_at)
  SELECT $1::text, $2::text, $3::bytea, $4::text::jsonb, ` + timerDueSQL + `
  FROM parted
  RETURNING id, next_attempt_at
)
SELECT a.id, ` + micros("a.next_attempt_at") + `, {tell:$1::text},
       r.id, ` + micros("r.next_attempt_at") + `, r.attempts_count
FROM added AS a, running AS r`

var cancelTimerSQL = `
WITH free AS MATERIALIZED (
  SELECT id, next_attempt_at, attempts_count FROM {outbox}
  WHERE queue = $1::text AND timer_id = $2::text AND acquired_at IS NULL
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM {outbox} AS o USING free, generate_series(1, $3::int) WHERE o.id = free.id
  RETURNING o.id
)
SELECT gone.id, ` + micros("free.next_attempt_at") + `, free.attempts_count FROM gone, free`

// cancelTimersSQL deletes the timers of a queue, those whose ids begin with $2.
// Collations other than C give no range of the index for a prefix: it reads all
// of the queue's.
const cancelTimersSQL = `
WITH there AS MATERIALIZED (
  SELECT id FROM {outbox} WHERE queue = $1::text AND timer_id IS NOT NULL AND starts_with(timer_id, $2::text)
), free AS MATERIALIZED (
  SELECT id FROM {outbox}
  WHERE queue = $1::text AND timer_id IS NOT NULL AND starts_with(timer_id, $2::text) AND acquired_at IS NULL
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM {outbox} AS o USING free, generate_series(1, $3::int) WHERE o.id = free.id
  RETURNING o.id
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM there WHERE id NOT IN (SELECT id FROM gone))`

// patience is how long, in all, a statement on one timer tries to get at a row
// that somebody has locked. A claim, an acknowledgement and most transactions are
// over by then; a handler that holds the row is not waited for.
var patience = [...]time.Duration{time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 16 * time.Millisecond}

// retry calls try until it is done. Each time it has a new snapshot (where the
// transaction is read committed). locked says that it met a row that is waiting
// but locked, or was a moment ago: there is a pause then, and an end.
func retryTimer(ctx context.Context, try func() (done, locked bool, err error)) error {
	pauses := patience[:]
	for range tries {
		done, locked, err := try()
		switch {
		case err != nil || done:
			return err
		case !locked:
			continue
		case len(pauses) == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauses[0]):
		}
		pauses = pauses[1:]
	}
	return errContended
}

// RescheduleTimer moves a timer and replaces its value, or inserts it. Where the
// answer has no ID nothing was written, because the timer Found is running or
// locked.
func (t *Table) RescheduleTimer(ctx context.Context, tx Rower, d *store.Draft, r store.TimerRules) (w store.Written, err error) {
	var most *float64 // null: no bound
	if r.MaxWait > 0 {
		secs := r.MaxWait.Seconds()
		most = &secs
	}
	args := append(timerArgs(d), int(r.Keep), most)
	err = retryTimer(ctx, func() (done, locked bool, err error) {
		if w, err = t.move(ctx, tx, args); err != nil || w.ID != 0 {
			return true, false, err
		}
		w = store.Written{}
		if w.Found, err = t.findTimer(ctx, tx, d.Queue, d.TimerID); err != nil || w.Found == nil {
			return false, false, err // it is gone: now there is none
		}
		if !w.Found.Leased {
			return false, true, nil
		}
		if r.Refuse {
			return true, false, nil
		}
		was := w.Found
		if w, err = t.rearm(ctx, tx, d); err != nil || w.ID != 0 {
			return true, false, err
		}
		w.Found = was
		return false, true, nil
	})
	return w, err
}

// move is the one statement that nearly always does it.
func (t *Table) move(ctx context.Context, tx Rower, args []any) (w store.Written, err error) {
	var id, due, was, wasDue, attempts *int64
	var told *string
	err = tx.QueryRow(ctx, t.sql.timers.reschedule, args...).Scan(&id, &due, &told, &was, &wasDue, &attempts)
	if err != nil {
		return w, err
	}
	if id != nil {
		w.ID, w.DueAt = *id, fromMicros(due)
	}
	if was != nil {
		w.Found = &store.Timer{ID: *was, DueAt: fromMicros(wasDue), Attempts: *attempts}
	}
	return w, nil
}

func (t *Table) rearm(ctx context.Context, tx Rower, d *store.Draft) (w store.Written, err error) {
	var due, wasDue *int64
	var told *string
	was := &store.Timer{Leased: true}
	err = tx.QueryRow(ctx, t.sql.timers.rearm, timerArgs(d)...).Scan(&w.ID, &due, &told, &was.ID, &wasDue, &was.Attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Written{}, nil
	}
	w.DueAt, was.DueAt = fromMicros(due), fromMicros(wasDue)
	w.Found, w.Parted = was, true
	return w, err
}

// CancelTimer deletes a timer that waits. Found is what was there, if anything;
// ID is not zero if it was deleted.
func (t *Table) CancelTimer(ctx context.Context, tx Rower, queue, id string) (w store.Written, err error) {
	err = retryTimer(ctx, func() (done, locked bool, err error) {
		var due *int64
		f := store.Timer{}
		err = tx.QueryRow(ctx, t.sql.timers.cancel, queue, id, 1).Scan(&f.ID, &due, &f.Attempts)
		if err == nil {
			f.DueAt = fromMicros(due)
			w = store.Written{ID: f.ID, Found: &f}
			return true, false, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return false, false, err
		}
		w = store.Written{}
		w.Found, err = t.findTimer(ctx, tx, queue, id)
		return err != nil || w.Found == nil || w.Found.Leased, true, err
	})
	return w, err
}

// CancelTimers deletes the timers of a queue that wait and whose ids begin with
// prefix, and counts those that it left.
func (t *Table) CancelTimers(ctx context.Context, tx Rower, queue, prefix string) (cancelled, left int64, err error) {
	err = tx.QueryRow(ctx, t.sql.timers.drop, queue, prefix, 1).Scan(&cancelled, &left)
	return cancelled, left, err
}
