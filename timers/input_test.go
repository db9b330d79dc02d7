package timers_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx" of database/sql
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func TestCalls_RefuseBadInput(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	ctx := t.Context()
	soon := time.Now().Add(time.Hour)
	secret := text("a secret")
	scheduled := func(id string, at time.Time, d queue.Draft) func(queue.Tx) error {
		return func(tx queue.Tx) error { _, err := timers.Schedule(ctx, tx, id, at, d); return err }
	}
	after := func(d time.Duration) func(queue.Tx) error {
		return func(tx queue.Tx) error { _, err := timers.ScheduleAfter(ctx, tx, "t", d, secret); return err }
	}
	moved := func(at time.Time, opts ...timers.Option) func(queue.Tx) error {
		return func(tx queue.Tx) error { _, err := timers.Reschedule(ctx, tx, "t", at, secret, opts...); return err }
	}
	batch := func(list ...timers.Timer) func(queue.Tx) error {
		return func(tx queue.Tx) error {
			_, err := timers.ScheduleBatch(ctx, tx, append([]timers.Timer{{ID: "good", At: soon, Message: secret}}, list...)...)
			return err
		}
	}
	cancel := func(q queue.Queue, id string) func(queue.Tx) error {
		return func(tx queue.Tx) error { _, err := timers.Of(q).Cancel(ctx, tx, id); return err }
	}
	on := func(tx queue.Tx, f func(queue.Tx) error) func(queue.Tx) error {
		return func(queue.Tx) error { return f(tx) }
	}
	list := func(f timers.Filter, p timers.Page) func(queue.Tx) error {
		return func(tx queue.Tx) error { _, err := timers.Of(reminders).List(ctx, tx, f, p); return err }
	}
	missing := queue.New("reminders").In(queue.Outbox{Table: "missing"})

	tests := []struct {
		name string
		do   func(tx queue.Tx) error
		want error
		says string
	}{
		{"empty id", scheduled("", soon, secret), timers.ErrInvalidID, "empty"},
		{"id of 256 characters", scheduled(strings.Repeat("ü", 256), soon, secret), timers.ErrInvalidID, "256 characters"},
		{"NUL in the id", scheduled("a\x00b", soon, secret), timers.ErrInvalidID, "valid text"},
		{"id that is not UTF-8", scheduled("a\xff", soon, secret), timers.ErrInvalidID, "valid text"},
		{"zero time", scheduled("t", time.Time{}, secret), timers.ErrInvalidTime, "zero time"},
		{"year 10000", scheduled("t", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), secret), timers.ErrInvalidTime, "10000"},
		{"year 0", scheduled("t", time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), secret), timers.ErrInvalidTime, "year 0"},
		{"milliseconds taken for seconds", scheduled("t", time.Unix(soon.UnixMilli(), 0), secret), timers.ErrInvalidTime, "year"},
		{"no end of time", scheduled("t", time.Unix(1<<62, 0), secret), timers.ErrInvalidTime, "year"},
		{"negative time", after(-1), queue.ErrInvalidDelay, "-1ns, it may be 0 to 87600h0m0s"},
		{"time of centuries", after(1<<63 - 1), queue.ErrInvalidDelay, ""},
		{"message with a delay", scheduled("t", soon, secret.With(queue.Delay(time.Second))), queue.ErrInvalidDelay, "none of its own"},
		{"message over the limit", scheduled("t", soon, reminders.MaxBytes(3).Draft([]byte("a secret"))), queue.ErrTooLarge, "limit is 3"},
		{"message that does not encode", scheduled("t", soon, reminders.BadDraft(errBad)), errBad, `queue "reminders"`},
		{"zero message", scheduled("t", soon, queue.Draft{}), queue.ErrNotMade, ""},
		{"bad queue", scheduled("t", soon, queue.New("").Draft(nil)), queue.ErrInvalidName, ""},
		{"bad header", moved(soon, queue.Headers(map[string]string{"a": "\x00"})), queue.ErrInvalidHeader, ""},
		{"nil transaction", on(nil, scheduled("t", soon, secret)), queue.ErrNoTransaction, `timer "t" of queue "reminders"`},
		{"nil *pgxpool.Tx", on((*pgxpool.Tx)(nil), moved(soon)), queue.ErrNoTransaction, ""},
		{"nil *sql.Tx", on(queue.SQL(nil), cancel(reminders, "t")), queue.ErrNoTransaction, ""},
		{"nil database", on(queue.Autocommit(nil), batch()), queue.ErrNoTransaction, `of queue "`},
		{"missing table", scheduled("t", soon, missing.Draft(nil)), queue.ErrNoTable, "Outbox.Create"},
		{"missing table of a list", func(tx queue.Tx) error { _, _, err := timers.Of(missing).NextDue(ctx, tx); return err }, queue.ErrNoTable, "Outbox.Create"},

		{"reschedule to the zero time", moved(time.Time{}), timers.ErrInvalidTime, "reschedule"},
		{"unknown rule", moved(soon, timers.Keep(9)), timers.ErrInvalid, "9"},
		{"unknown policy", moved(soon, timers.WhenRunning(9)), timers.ErrInvalid, "9"},
		{"negative longest wait", moved(soon, timers.MaxWait(-1)), timers.ErrInvalid, "-1ns"},
		{"nil option", moved(soon, nil), timers.ErrInvalid, "nil"},

		{"batch with a bad id", batch(timers.Timer{At: soon, Message: secret}), timers.ErrInvalidID, "timer 1 of 2"},
		{"batch with no time", batch(timers.Timer{ID: "t", Message: secret}), timers.ErrInvalidTime, "neither"},
		{"batch with two times", batch(timers.Timer{ID: "t", At: soon, After: 1, Message: secret}), timers.ErrInvalidTime, "both"},
		{"batch with a negative time", batch(timers.Timer{ID: "t", After: -1, Message: secret}), queue.ErrInvalidDelay, ""},

		{"cancel without an id", cancel(reminders, ""), timers.ErrInvalidID, "cancel"},
		{"cancel in a bad queue", cancel(queue.New("a\x00"), "t"), queue.ErrInvalidName, ""},
		{"cancel in no queue", func(tx queue.Tx) error { _, err := timers.In(queue.Outbox{}).Cancel(ctx, tx, "t"); return err }, timers.ErrInvalid, "use Of"},
		{"cancel all of no queue", func(tx queue.Tx) error { _, err := timers.In(queue.Outbox{}).CancelAll(ctx, tx); return err }, timers.ErrInvalid, "use Of"},
		{"cancel an empty prefix", func(tx queue.Tx) error { _, err := timers.Of(reminders).CancelPrefix(ctx, tx, ""); return err }, timers.ErrInvalidID, "prefix"},
		{"cancel by the zero value", func(tx queue.Tx) error { _, err := timers.Timers{}.Cancel(ctx, tx, "t"); return err }, queue.ErrNotMade, ""},

		{"page too large", list(timers.Filter{}, timers.Page{Size: 1001}), timers.ErrInvalid, "1001"},
		{"page below zero", list(timers.Filter{}, timers.Page{Size: -1}), timers.ErrInvalid, "-1"},
		{"no cursor", list(timers.Filter{}, timers.Page{After: "1; DROP TABLE outbox"}), timers.ErrInvalid, "no cursor"},
		{"no cursor either", list(timers.Filter{}, timers.Page{After: "never.1"}), timers.ErrInvalid, "no cursor"},
		{"no cursor of PostgreSQL's time", list(timers.Filter{}, timers.Page{After: "-210866803200000001.1"}), timers.ErrInvalid, "no cursor"},
		{"other queue", list(timers.Filter{Queue: "other"}, timers.Page{}), timers.ErrInvalid, `"other"`},
		{"prefix that is not text", list(timers.Filter{Prefix: "\x00"}, timers.Page{}), timers.ErrInvalid, "prefix"},
		{"bound beyond time", list(timers.Filter{DueFrom: time.Unix(1<<62, 0)}, timers.Page{}), timers.ErrInvalidTime, ""},
		{"nil database of a list", func(queue.Tx) error {
			_, err := timers.Of(reminders).List(ctx, (*pgxpool.Pool)(nil), timers.Filter{}, timers.Page{})
			return err
		}, queue.ErrNoTransaction, ""},
		{"bad table", func(tx queue.Tx) error {
			_, err := timers.In(queue.Outbox{Table: strings.Repeat("t", 60)}).Count(ctx, tx, timers.Filter{})
			return err
		}, nil, "_pending_idx"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			tx := begin(t, db.Pool)
			err := tt.do(tx)
			is.True(err != nil)
			is.True(tt.want == nil || errors.Is(err, tt.want)) // the sentinel
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			is.True(!strings.Contains(err.Error(), "secret")) // never the payload
			is.True(len(err.Error()) < 1000)
		})
	}
	is.New(t).Equal(table(t, db.Pool), []row{})
}

var errBad = errors.New("does not encode")

func TestSchedule_Times(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	zone := time.FixedZone("far", 14*3600)
	future := time.Now().Add(time.Hour).Round(0)
	tests := []struct {
		name string
		at   time.Time
		want time.Time // zero: the transaction's
	}{
		{"future", future, future.Truncate(time.Microsecond)},
		{"another zone", future.In(zone), future.Truncate(time.Microsecond)},
		{"end of 9999", time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
		{"a moment ago", time.Now().Add(-time.Millisecond), time.Time{}},
		{"long ago", time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), time.Time{}},
		{"1969", time.Unix(-1, 0), time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			calls := map[string]func(tx pgx.Tx) (timers.Result, error){
				"schedule": func(tx pgx.Tx) (timers.Result, error) { return timers.Schedule(t.Context(), tx, "a", tt.at, text("")) },
				"reschedule": func(tx pgx.Tx) (timers.Result, error) {
					return timers.Reschedule(t.Context(), tx, "b", tt.at, text(""))
				},
				"batch": func(tx pgx.Tx) (timers.Result, error) {
					res, err := timers.ScheduleBatch(t.Context(), tx, timers.Timer{ID: "c", At: tt.at, Message: text("")})
					if err != nil {
						return timers.Result{}, err
					}
					return res[0], nil
				},
			}
			for name, do := range calls {
				tx := begin(t, db.Pool)
				var now, stored time.Time
				is.NoErr(tx.QueryRow(t.Context(), "SELECT now()").Scan(&now))
				want := tt.want
				if want.IsZero() {
					want = now
				}
				res, err := do(tx)
				is.NoErr(err)
				is.NoErr(tx.QueryRow(t.Context(), "SELECT next_attempt_at FROM outbox WHERE id = $1", res.ID).Scan(&stored))
				if !stored.Equal(want) || !res.DueAt.Equal(want) {
					t.Errorf("%s: stored %v, said %v, want %v", name, stored, res.DueAt, want)
				}
				is.Equal(res.DueAt.Location(), time.UTC)
				is.NoErr(tx.Rollback(t.Context()))
			}
		})
	}
}

// Others may write infinities, which Go's time cannot hold.
func TestCalls_BearInfinity(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ctx := t.Context()
	exec(t, db.Pool, `INSERT INTO outbox (queue, payload, timer_id, created_at, next_attempt_at) VALUES
		('reminders', 'x', 'never', 'infinity', 'infinity'), ('reminders', 'y', 'ever', '-infinity', '-infinity'),
		('reminders', 'z', 'once', now(), now() + interval '1 hour')`)
	tx := begin(t, db.Pool)
	q := timers.Of(reminders)

	var ids, payloads []string
	for page := (timers.Page{Size: 1}); ; {
		list, err := q.List(ctx, tx, timers.Filter{}, page)
		is.NoErr(err)
		if len(list) == 0 {
			break
		}
		ids, payloads = append(ids, list[0].TimerID), append(payloads, string(list[0].Payload))
		is.Equal(list[0].DueAt.IsZero(), list[0].TimerID != "once")
		is.Equal(list[0].CreatedAt.IsZero(), list[0].TimerID != "once")
		page.After = list[0].Cursor()
	}
	is.Equal(ids, []string{"ever", "once", "never"})
	is.Equal(payloads, []string{"y", "z", "x"})

	at, ok, err := q.NextDue(ctx, tx)
	is.NoErr(err)
	is.True(ok)
	is.True(at.After(time.Now().Add(30 * time.Minute)))
	c, err := q.Count(ctx, tx, timers.Filter{})
	is.NoErr(err)
	is.Equal(c, timers.Counts{Waiting: 3, Due: 1})

	for _, id := range []string{"never", "ever"} {
		live, ok, err := q.Get(ctx, tx, id)
		is.NoErr(err)
		is.True(ok)
		is.True(live.DueAt.IsZero())
		res, err := timers.ScheduleAfter(ctx, tx, id, time.Hour, text("new"))
		is.NoErr(err)
		is.Equal(res.Outcome, timers.AlreadyThere)
		is.True(res.Existing.DueAt.IsZero())
		many, err := timers.ScheduleBatch(ctx, tx, timers.Timer{ID: id, After: time.Hour, Message: text("new")})
		is.NoErr(err)
		is.Equal(many[0].Outcome, timers.AlreadyThere)
		is.True(many[0].Existing.DueAt.IsZero())
		res, err = timers.RescheduleAfter(ctx, tx, id, time.Hour, text("new"), timers.Keep(timers.Earliest), timers.MaxWait(time.Minute))
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Rescheduled)
		res, err = q.Cancel(ctx, tx, id)
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Cancelled)
	}
}

// Every driver's transaction will do, for it is asked for QueryRow alone; and pgx
// in any of its modes.
func TestCalls_OnEveryDriver(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	standard, err := sql.Open("pgx", db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer standard.Close()
	ways := map[string]func(t *testing.T) queue.Tx{
		"database/sql": func(t *testing.T) queue.Tx {
			tx, err := standard.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return queue.SQL(tx)
		},
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		ways[mode.String()] = func(t *testing.T) queue.Tx {
			return begin(t, db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode }))
		}
	}
	for name, start := range ways {
		t.Run(name, func(t *testing.T) {
			tx := start(t)
			everyCall(t, tx)
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			is := is.New(t)
			is.Equal(len(table(t, db.Pool)), 1) // the one that ran when it was rearmed
			_, err := db.Pool.Exec(t.Context(), "DELETE FROM outbox")
			is.NoErr(err)
		})
	}
}

// everyCall makes every call there is, on an empty outbox.
func everyCall(t *testing.T, tx queue.Tx) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	at := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	q := timers.Of(reminders)

	outcomes := []timers.Outcome{}
	did := func(r timers.Result, err error) {
		t.Helper()
		is.NoErr(err)
		outcomes = append(outcomes, r.Outcome)
	}
	did(timers.Schedule(ctx, tx, "a", at, text("1")))
	did(timers.Schedule(ctx, tx, "a", at, text("2")))
	did(timers.Reschedule(ctx, tx, "a", at.Add(time.Hour), text("3"), queue.CorrelationID("c-1"), timers.Keep(timers.Earliest)))
	did(timers.RescheduleAfter(ctx, tx, "b", 0, text("4")))
	many, err := timers.ScheduleBatch(ctx, tx, timers.Timer{ID: "b", After: 1, Message: text("5")}, timers.Timer{ID: "c", At: at, Message: text("6")})
	is.NoErr(err)
	did(many[0], nil)
	did(many[1], nil)
	exec(t, tx, `UPDATE outbox SET acquired_at = now(), acquired_token = gen_random_uuid() WHERE timer_id = 'b'`)
	did(timers.ScheduleAfter(ctx, tx, "b", time.Hour, text("7")))
	did(timers.RescheduleAfter(ctx, tx, "b", time.Hour, text("8")))
	did(q.Cancel(ctx, tx, "c"))
	did(q.Cancel(ctx, tx, "c"))
	is.Equal(outcomes, []timers.Outcome{timers.Scheduled, timers.AlreadyThere, timers.Rescheduled, timers.Scheduled,
		timers.AlreadyThere, timers.Scheduled, timers.AlreadyThere, timers.Rearmed, timers.Cancelled, timers.Absent})

	live, ok, err := q.Get(ctx, tx, "a")
	is.NoErr(err)
	is.True(ok)
	is.True(live.DueAt.Equal(at))
	is.Equal(string(live.Payload), "3")
	is.Equal(live.CorrelationID(), "c-1")
	list, err := q.List(ctx, tx, timers.Filter{}, timers.Page{})
	is.NoErr(err)
	is.Equal(len(list), 2)
	n, err := q.Count(ctx, tx, timers.Filter{Running: true})
	is.NoErr(err)
	is.Equal(n, timers.Counts{Waiting: 2})
	_, ok, err = q.NextDue(ctx, tx)
	is.NoErr(err)
	is.True(ok)
	gone, err := q.CancelAll(ctx, tx)
	is.NoErr(err)
	is.Equal(gone, timers.CancelCount{Cancelled: 2})
}

func TestCalls_OnAutocommit(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	tx := queue.Autocommit(db.Pool)
	_, err := timers.ScheduleAfter(t.Context(), tx, "a", time.Hour, text("1"))
	is.NoErr(err)
	many := make([]timers.Timer, 6000) // two statements, one transaction
	for i := range many {
		many[i] = timers.Timer{ID: strings.Repeat("b", i%7) + time.Duration(i).String(), After: time.Hour, Message: text("2")}
	}
	_, err = timers.ScheduleBatch(t.Context(), tx, many...)
	is.NoErr(err)
	is.Equal(len(table(t, db.Pool)), 6001)

	away := queue.New("away").In(queue.Outbox{Table: "zz_missing"}) // and written after the other
	_, err = timers.ScheduleBatch(t.Context(), tx,
		timers.Timer{ID: "c", After: time.Hour, Message: text("3")},
		timers.Timer{ID: "d", After: time.Hour, Message: away.Draft(nil)})
	is.True(errors.Is(err, queue.ErrNoTable))
	is.Equal(len(table(t, db.Pool)), 6001) // all or none
}
