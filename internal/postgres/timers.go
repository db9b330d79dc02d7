package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// The statements on timers find rows by <t>_timer_id_uq, in the caller's
// transaction, with nothing but QueryRow. Two rules run through them.
//
// They never wait for a lock on a row. A timer that is there is looked for by a
// plain SELECT before anything is inserted, for ON CONFLICT alone waits for
// whoever is just claiming, acknowledging or changing the row; and what is to be
// changed is locked with SKIP LOCKED. What remains is PostgreSQL's own: of two
// transactions that insert the same timer, the second waits for the first.
//
// They are planned for their values each time. A plan that was made while the
// table was empty reads all of it, and stays in use while a million rows
// arrive; these statements run on the caller's connection, where the planner is
// not ours to pin. generate_series(1, $n) is one row when n is known and a
// thousand when it is not, so the general plan always looks the worse one. And
// whether a row is leased is asked of acquired_at, which goes with acquired_token
// (<t>_lease_ck): that keeps the partial indexes, through which many rows would be
// read for one, out of the choice.

// timerStatements are those of the files timers*.go.
type timerStatements struct {
	schedule, scheduleMany, find    string
	reschedule, rearm, cancel, drop string
	list, get, count, nextDue       string
	messages, dead                  string
}

func fillTimers(fill func(string) string) timerStatements {
	return timerStatements{
		schedule:     fill(scheduleTimerSQL),
		scheduleMany: fill(scheduleTimersSQL),
		find:         fill(findTimerSQL),
		reschedule:   fill(rescheduleTimerSQL),
		rearm:        fill(rearmTimerSQL),
		cancel:       fill(cancelTimerSQL),
		drop:         fill(cancelTimersSQL),
		list:         fill(listTimersSQL),
		messages:     fill(listMessagesSQL),
		dead:         fill(listDeadSQL),
		get:          fill(getTimerSQL),
		count:        fill(countTimersSQL),
		nextDue:      fill(nextTimerSQL),
	}
}

// micros turns a timestamptz into microseconds since 1970, which every driver
// reads alike. The infinities become null, and so does the last generation before
// the end of PostgreSQL's time, whose microseconds are no bigint.
func micros(column string) string {
	return "CASE WHEN " + countable(column) + " THEN (extract(epoch FROM " + column + ") * 1000000)::bigint END"
}

func countable(column string) string {
	return "(isfinite(" + column + ") AND " + column + " < '294247-01-01 00:00:00+00')"
}

// timerDueSQL is when a timer is due: at $5, else $6 seconds from now. A time in
// the past is now: a row of long ago would stand before all that waits, and below
// the floor that claims begin from.
const timerDueSQL = `GREATEST(now(), COALESCE($5::text::timestamptz, now() + make_interval(secs => $6::float8)))`

var scheduleTimerSQL = `
INSERT INTO {outbox} (queue, timer_id, payload, headers, next_attempt_at)
SELECT $1::text, $2::text, $3::bytea, $4::text::jsonb, ` + timerDueSQL + `
FROM generate_series(1, $7::int)
WHERE NOT EXISTS (SELECT FROM {outbox} WHERE queue = $1::text AND timer_id = $2::text)
ON CONFLICT (queue, timer_id) WHERE timer_id IS NOT NULL DO NOTHING
RETURNING id, ` + micros("next_attempt_at") + `, {tell:$1::text}`

var findTimerSQL = `
SELECT o.id, ` + micros("o.next_attempt_at") + `, o.acquired_token IS NOT NULL, o.attempts_count
FROM generate_series(1, $3::int)
CROSS JOIN LATERAL (SELECT * FROM {outbox} WHERE queue = $1::text AND timer_id = $2::text LIMIT 1) AS o`

// tries bounds how often a statement is sent that finds no timer and, when it
// inserts one, finds it there: each time with a new snapshot. Twice is rare.
const tries = 20

// errContended comes where timers appear and vanish faster than they can be
// looked at.
var errContended = errors.New("the timer appears and vanishes all the time")

// ScheduleTimer inserts one timer, unless there is one of its queue and id.
func (t *Table) ScheduleTimer(ctx context.Context, tx Rower, d *store.Draft) (store.Written, error) {
	for range tries {
		var w store.Written
		var due *int64
		var told *string
		err := tx.QueryRow(ctx, t.sql.timers.schedule, timerArgs(d)...).Scan(&w.ID, &due, &told)
		if err == nil {
			w.DueAt = fromMicros(due)
			return w, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return w, err
		}
		if w.Found, err = t.findTimer(ctx, tx, d.Queue, d.TimerID); err != nil || w.Found != nil {
			return w, err
		}
	}
	return store.Written{}, errContended
}

// findTimer looks at one timer and locks nothing; nil: there is none.
func (t *Table) findTimer(ctx context.Context, tx Rower, queue, id string) (*store.Timer, error) {
	var f store.Timer
	var due *int64
	err := tx.QueryRow(ctx, t.sql.timers.find, queue, id, 1).Scan(&f.ID, &due, &f.Leased, &f.Attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	f.DueAt = fromMicros(due)
	return &f, err
}

// timerArgs are $1 to $7 of the statements on one timer. Times go as text, which
// drivers do not interpret.
func timerArgs(d *store.Draft) []any {
	var at *string
	if !d.At.IsZero() {
		text := timestamp(d.At)
		at = &text
	}
	return []any{d.Queue, d.TimerID, notNil(d.Payload), string(d.Headers), at, d.Delay.Seconds(), 1}
}

// timestamp is an instant as PostgreSQL reads it whatever the DateStyle, which
// knows no year 0.
func timestamp(at time.Time) string {
	const withoutYear = "01-02 15:04:05.999999+00"
	if at = at.UTC(); at.Year() > 0 {
		return at.Format("2006-" + withoutYear)
	}
	return fmt.Sprintf("%04d-%s BC", 1-at.Year(), at.Format(withoutYear))
}

// fromMicros reads what micros wrote.
func fromMicros(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return time.UnixMicro(*us).UTC()
}
