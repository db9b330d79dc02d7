package timers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func TestSchedule_ExistsIfAndOnlyIfItCommits(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	tx := begin(t, db.Pool)
	res, err := timers.ScheduleAfter(t.Context(), tx, "t", time.Hour, text("rolled back"))
	is.NoErr(err)
	is.Equal(res.Outcome, timers.Scheduled)
	is.NoErr(tx.Rollback(t.Context()))
	is.Equal(table(t, db.Pool), []row{})

	is.Equal(schedule(t, db.Pool, "t", time.Hour, "committed").Outcome, timers.Scheduled) // nothing is in its way
	is.Equal(schedule(t, db.Pool, "t", time.Hour, "late").Outcome, timers.AlreadyThere)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		res, err := timers.ScheduleAfter(t.Context(), tx, "t", time.Hour, queue.New("other").Draft([]byte("x")))
		is.Equal(res.Outcome, timers.Scheduled) // of each queue and id
		return err
	})
	is.Equal(table(t, db.Pool), []row{
		{Payload: "committed", Timer: "t", In: hours}, {Payload: "x", Timer: "t", In: hours},
	})
}

// The relative form counts from the start of the transaction, as now() does.
func TestScheduleAfter_ByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	tx := begin(t, db.Pool)
	var now time.Time
	is.NoErr(tx.QueryRow(t.Context(), "SELECT now() FROM pg_sleep(0.02)").Scan(&now))
	for i, after := range []time.Duration{0, 1500 * time.Microsecond, 90 * time.Minute, queue.MaxDelay} {
		res, err := timers.ScheduleAfter(t.Context(), tx, fmt.Sprint("a", i), after, text(""))
		is.NoErr(err)
		is.Equal(res.DueAt.Sub(now), after)
		many, err := timers.ScheduleBatch(t.Context(), tx, timers.Timer{ID: fmt.Sprint("b", i), After: max(1000, after), Message: text("")})
		is.NoErr(err)
		is.Equal(many[0].DueAt.Sub(now), max(time.Microsecond, after))
		res, err = timers.RescheduleAfter(t.Context(), tx, fmt.Sprint("a", i), after+time.Second-after, text(""))
		is.NoErr(err)
		is.Equal(res.DueAt.Sub(now), time.Second)
	}
}

func TestScheduleBatch_AResultForEachInOrder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	other := queue.Outbox{Table: "other"}
	is.NoErr(other.Create(t.Context(), db.Pool))
	there := schedule(t, db.Pool, "there", time.Hour, "there")
	elsewhere := queue.New("elsewhere")
	at := time.Now().Add(2 * time.Hour).Truncate(time.Microsecond)

	var res []timers.Result
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		res, err = timers.ScheduleBatch(t.Context(), tx,
			timers.Timer{ID: "z", At: at, Message: text("first z")},
			timers.Timer{ID: "there", At: at, Message: text("late")},
			timers.Timer{ID: "a", After: time.Minute, Message: text("a")},
			timers.Timer{ID: "z", At: at.Add(time.Hour), Message: text("second z")},
			timers.Timer{ID: "z", At: at, Message: elsewhere.Draft([]byte("z elsewhere"))},
			timers.Timer{ID: "there", At: at, Message: text("later still")},
			timers.Timer{ID: "z", At: at, Message: reminders.In(other).Draft([]byte("z of the other outbox"))},
			timers.Timer{ID: "ä \"'\\,:{}\n", At: at, Message: text("")},
		)
		return err
	})
	var got []timers.Outcome
	for _, r := range res {
		got = append(got, r.Outcome)
	}
	is.Equal(got, []timers.Outcome{timers.Scheduled, timers.AlreadyThere, timers.Scheduled, timers.Repeated, timers.Scheduled,
		timers.Repeated, timers.Scheduled, timers.Scheduled})
	is.Equal(res[1].ID, there.ID)
	is.True(res[1].DueAt.Equal(there.DueAt))
	is.Equal(res[3].ID, res[0].ID)
	is.True(res[0].DueAt.Equal(at))
	is.Equal(res[5].ID, there.ID)
	is.Equal(res[7].ID != 0, true)
	for i, want := range map[int]string{0: "first z", 2: "a", 4: "z elsewhere", 7: ""} {
		var payload string
		is.NoErr(db.Pool.QueryRow(t.Context(), "SELECT convert_from(payload, 'UTF8') FROM outbox WHERE id = $1", res[i].ID).Scan(&payload))
		is.Equal(payload, want)
	}
	is.Equal(len(table(t, db.Pool)), 5)

	none, err := timers.ScheduleBatch(t.Context(), nil)
	is.NoErr(err)
	is.Equal(len(none), 0)
}

func TestScheduleBatch_AnySize(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, n := range []int{1, 2, 5000, 12_345} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			is := is.New(t)
			batch := make([]timers.Timer, n)
			for i := range batch {
				batch[i] = timers.Timer{ID: fmt.Sprintf("%d-%d", i%10, i), After: time.Duration(i+1) * time.Second, Message: text(fmt.Sprint(i))}
			}
			tx := begin(t, db.Pool)
			c := &counter{Tx: tx}
			res, err := timers.ScheduleBatch(t.Context(), c, batch...)
			is.NoErr(err)
			pins := 0 // the planner is kept on the index for a large batch
			if n >= 100 {
				pins = 2
			}
			is.Equal(c.trips, pins+(n+4999)/5000)
			var right int
			is.NoErr(tx.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE queue = 'reminders'
				AND timer_id = right(convert_from(payload, 'UTF8'), 1) || '-' || convert_from(payload, 'UTF8')
				AND extract(epoch FROM next_attempt_at - now()) = convert_from(payload, 'UTF8')::int + 1`).Scan(&right))
			is.Equal(right, n)
			ids := make([]int64, n)
			for i, r := range res {
				ids[i] = r.ID
				if r.Outcome != timers.Scheduled {
					t.Fatalf("timer %d: %v", i, r.Outcome)
				}
			}
			is.NoErr(tx.QueryRow(t.Context(), `SELECT count(*) FROM unnest($1::bigint[]) WITH ORDINALITY AS u(id, ord)
				JOIN outbox AS o USING (id) WHERE convert_from(o.payload, 'UTF8')::int = ord - 1`, ids).Scan(&right))
			is.Equal(right, n) // the i-th result is about the i-th timer
			is.NoErr(tx.Rollback(t.Context()))
		})
	}
}

// counter counts the round trips of a transaction.
type counter struct {
	queue.Tx
	trips int
}

func (c *counter) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	c.trips++
	return c.Tx.QueryRow(ctx, sql, args...)
}

func TestCalls_AreOneRoundTripWithTheNotification(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ctx := t.Context()
	listener := db.Connect(t)
	conn, err := listener.Acquire(ctx)
	is.NoErr(err)
	defer conn.Release()
	// A worker that sleeps: publishers notify nobody else.
	_, err = conn.Exec(ctx, `LISTEN outbox_outbox; LISTEN outbox_other;
		SELECT pg_advisory_lock_shared(hashtextextended('outbox_outbox/reminders', 2))`)
	is.NoErr(err)
	told := func() (queues []string) {
		t.Helper()
		_, err := db.Pool.Exec(ctx, "SELECT pg_notify('outbox_other', 'end')")
		is.NoErr(err)
		for {
			n, err := conn.Conn().WaitForNotification(ctx)
			is.NoErr(err)
			if n.Payload == "end" {
				return queues
			}
			queues = append(queues, n.Payload)
		}
	}
	at := time.Now().Add(time.Hour)
	tests := []struct {
		name  string
		trips int
		tells int
		do    func(tx queue.Tx) error
	}{
		{"schedule", 1, 1, func(tx queue.Tx) error { _, err := timers.Schedule(ctx, tx, "t", at, text("")); return err }},
		{"schedule again", 2, 0, func(tx queue.Tx) error { _, err := timers.Schedule(ctx, tx, "t", at, text("")); return err }},
		{"schedule in the past", 1, 1, func(tx queue.Tx) error {
			_, err := timers.Schedule(ctx, tx, "past", time.Unix(0, 0), text(""))
			return err
		}},
		{"batch", 1, 1, func(tx queue.Tx) error {
			_, err := timers.ScheduleBatch(ctx, tx, timers.Timer{ID: "b1", At: at, Message: text("")},
				timers.Timer{ID: "b2", At: at, Message: text("")}, timers.Timer{ID: "t", At: at, Message: text("")})
			return err
		}},
		{"batch again", 1, 0, func(tx queue.Tx) error {
			_, err := timers.ScheduleBatch(ctx, tx, timers.Timer{ID: "b1", At: at, Message: text("")})
			return err
		}},
		// A worker that wakes at the old time while this is not committed would
		// not see the new one.
		{"reschedule", 1, 1, func(tx queue.Tx) error { _, err := timers.Reschedule(ctx, tx, "t", at.Add(1), text("")); return err }},
		{"reschedule what is not there", 1, 1, func(tx queue.Tx) error { _, err := timers.Reschedule(ctx, tx, "r", at, text("")); return err }},
		{"cancel", 1, 0, func(tx queue.Tx) error { _, err := timers.Of(reminders).Cancel(ctx, tx, "r"); return err }},
		{"cancel what is not there", 2, 0, func(tx queue.Tx) error { _, err := timers.Of(reminders).Cancel(ctx, tx, "r"); return err }},
		{"cancel all", 1, 0, func(tx queue.Tx) error { _, err := timers.Of(reminders).CancelAll(ctx, tx); return err }},
	}
	for _, tt := range tests {
		commit(t, db.Pool, func(tx pgx.Tx) error {
			c := &counter{Tx: tx}
			err := tt.do(c)
			if c.trips != tt.trips {
				t.Errorf("%s took %d round trips, not %d", tt.name, c.trips, tt.trips)
			}
			return err
		})
		if got := told(); len(got) != tt.tells {
			t.Errorf("%s told %v", tt.name, got)
		}
	}
}

// Of two transactions that store the same new timer, the second waits for the
// first, for it cannot know yet.
func TestSchedule_WaitsForOneThatStoresTheSame(t *testing.T) {
	t.Parallel()
	type result struct {
		res timers.Result
		err error
	}
	calls := map[string]struct {
		do    call
		lost  timers.Outcome // where the first commits
		takes string         // and what is there then
	}{
		"schedule":   {scheduleCall, timers.AlreadyThere, "old"},
		"batch":      {batchCall, timers.AlreadyThere, "old"},
		"reschedule": {rescheduleCall(), timers.Rescheduled, "new"},
	}
	for name, c := range calls {
		for _, commits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, commits=%v", name, commits), func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := newDB(t)
				first := begin(t, db.Pool)
				_, err := timers.ScheduleAfter(t.Context(), first, "t", time.Hour, text("old"))
				is.NoErr(err)

				got := make(chan result, 1)
				second := begin(t, db.Pool)
				go func() {
					res, err := c.do(t.Context(), second)
					got <- result{res, err}
				}()
				eventually(t, db.Pool, 1, `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
				is.Equal(len(got), 0)
				want, payload := c.lost, c.takes
				if commits {
					is.NoErr(first.Commit(t.Context()))
				} else {
					is.NoErr(first.Rollback(t.Context()))
					want, payload = timers.Scheduled, "new"
				}
				r := next(t, got)
				is.NoErr(r.err)
				is.Equal(r.res.Outcome.String(), want.String())
				is.NoErr(second.Commit(t.Context()))
				list := table(t, db.Pool)
				is.Equal(len(list), 1)
				is.Equal(list[0].Payload, payload)
			})
		}
	}
}

// Batches with timers in common write them in one order, whatever the caller's.
func TestScheduleBatch_DoesNotDeadlock(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	const n, rounds = 50, 20
	batch := func(backwards bool) []timers.Timer {
		list := make([]timers.Timer, n)
		for i := range list {
			id := i
			if backwards {
				id = n - 1 - i
			}
			list[i] = timers.Timer{ID: fmt.Sprint(id), After: time.Hour, Message: text("")}
		}
		return list
	}
	for range rounds {
		errs := make(chan error, 2)
		stored := make(chan int, 2)
		for _, backwards := range []bool{false, true} {
			go func() {
				errs <- pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
					res, err := timers.ScheduleBatch(t.Context(), tx, batch(backwards)...)
					count := 0
					for _, r := range res {
						if r.Stored() {
							count++
						}
					}
					stored <- count
					return err
				})
			}()
		}
		is.NoErr(next(t, errs))
		is.NoErr(next(t, errs))
		is.Equal(next(t, stored)+next(t, stored), n) // each timer once
		_, err := db.Pool.Exec(t.Context(), "DELETE FROM outbox")
		is.NoErr(err)
	}
}

// A transaction that sees the past gets PostgreSQL's error, and no wrong answer.
func TestReschedule_InARepeatableReadTransaction(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	schedule(t, db.Pool, "t", time.Hour, "old")
	tx, err := db.Pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	is.NoErr(err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	is.Equal(len(table(t, tx)), 1) // the snapshot is taken
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := timers.RescheduleAfter(t.Context(), tx, "t", 2*time.Hour, text("other"))
		return err
	})
	_, err = timers.RescheduleAfter(t.Context(), tx, "t", 3*time.Hour, text("new"))
	is.True(err != nil)
	is.Equal(sqlState(err), "40001")
}
