package timers_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/timers"
)

// state makes what there is of the timer "t" when a call comes. Locks are held by
// other transactions until the test ends, so a call that waits never returns.
type state func(t *testing.T, s substrate)

var states = map[string]state{
	"none":    func(*testing.T, substrate) {},
	"waiting": func(t *testing.T, s substrate) { put(t, s, "t", time.Hour, "old") },
	"due":     func(t *testing.T, s substrate) { put(t, s, "t", 0, "old") },
	"retrying": func(t *testing.T, s substrate) {
		put(t, s, "t", 0, "old")
		fail(t, s, 0)
		fail(t, s, time.Hour)
	},
	"running": func(t *testing.T, s substrate) {
		put(t, s, "t", 0, "old")
		take(t, s)
	},
	"abandoned": func(t *testing.T, s substrate) {
		put(t, s, "t", 0, "old")
		s.abandon(t, take(t, s)[0].ID)
	},
	"held by a batch": func(t *testing.T, s substrate) {
		put(t, s, "t", time.Hour, "old")
		s.hold(t, open(t, s))
	},
	"being claimed": func(t *testing.T, s substrate) {
		p, ok := s.(onPostgres)
		if !ok {
			t.Skip("no claim can be under way in memory: each is over at once, so there is no such state to set up")
		}
		put(t, s, "t", time.Hour, "old")
		lock(t, p.Pool, `UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now()`)
	},
	"being deleted": func(t *testing.T, s substrate) {
		put(t, s, "t", time.Hour, "old")
		if _, err := timers.Of(reminders).Cancel(t.Context(), open(t, s), "t"); err != nil {
			t.Fatal(err)
		}
	},
	"being moved": func(t *testing.T, s substrate) {
		put(t, s, "t", time.Hour, "old")
		if _, err := timers.RescheduleAfter(t.Context(), open(t, s), "t", 2*time.Hour, text("other")); err != nil {
			t.Fatal(err)
		}
	},
	"running and being acknowledged": func(t *testing.T, s substrate) {
		put(t, s, "t", 0, "old")
		take(t, s)
		s.ack(t, open(t, s))
	},
}

func lock(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	if _, err := begin(t, pool).Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// call is one call about the timer "t", due in two hours.
type call func(ctx context.Context, tx pgx.Tx) (timers.Result, error)

var (
	scheduleCall call = func(ctx context.Context, tx pgx.Tx) (timers.Result, error) {
		return timers.ScheduleAfter(ctx, tx, "t", 2*time.Hour, text("new"))
	}
	batchCall call = func(ctx context.Context, tx pgx.Tx) (timers.Result, error) {
		res, err := timers.ScheduleBatch(ctx, tx, timers.Timer{ID: "t", After: 2 * time.Hour, Message: text("new")},
			timers.Timer{ID: "t", After: time.Minute, Message: text("never")})
		if err != nil {
			return timers.Result{}, err
		}
		return res[0], nil
	}
	cancelCall call = func(ctx context.Context, tx pgx.Tx) (timers.Result, error) {
		return timers.Of(reminders).Cancel(ctx, tx, "t")
	}
)

func rescheduleCall(opts ...timers.Option) call {
	return func(ctx context.Context, tx pgx.Tx) (timers.Result, error) {
		return timers.RescheduleAfter(ctx, tx, "t", 2*time.Hour, text("new"), opts...)
	}
}

const hours = 3600

func TestRules(t *testing.T) {
	t.Parallel()
	var (
		old        = row{Payload: "old", Timer: "t", In: 1 * hours}
		oldDue     = row{Payload: "old", Timer: "t"}
		oldRetry   = row{Payload: "old", Timer: "t", In: 1 * hours, Attempts: 2, Deliveries: 2}
		oldRunning = row{Payload: "old", Timer: "t", Leased: true, Deliveries: 1}
		oldParted  = row{Payload: "old", Leased: true, Deliveries: 1}
		fresh      = row{Payload: "new", Timer: "t", In: 2 * hours}
		same       = func(r row) []row { return []row{r} }
	)
	tests := []struct {
		call  string
		do    call
		state string
		want  timers.Outcome
		found timers.Existing // without ID and DueAt
		table []row           // what the caller's transaction sees in the end
	}{
		{"schedule", scheduleCall, "none", timers.Scheduled, timers.Existing{}, same(fresh)},
		{"schedule", scheduleCall, "waiting", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"schedule", scheduleCall, "due", timers.AlreadyThere, timers.Existing{}, same(oldDue)},
		{"schedule", scheduleCall, "retrying", timers.AlreadyThere, timers.Existing{Attempts: 2}, same(oldRetry)},
		{"schedule", scheduleCall, "running", timers.AlreadyThere, timers.Existing{Leased: true}, same(oldRunning)},
		{"schedule", scheduleCall, "abandoned", timers.AlreadyThere, timers.Existing{Leased: true}, same(oldRunning)},
		{"schedule", scheduleCall, "held by a batch", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"schedule", scheduleCall, "being claimed", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"schedule", scheduleCall, "being deleted", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"schedule", scheduleCall, "being moved", timers.AlreadyThere, timers.Existing{}, same(old)},

		{"batch", batchCall, "none", timers.Scheduled, timers.Existing{}, same(fresh)},
		{"batch", batchCall, "waiting", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"batch", batchCall, "retrying", timers.AlreadyThere, timers.Existing{Attempts: 2}, same(oldRetry)},
		{"batch", batchCall, "running", timers.AlreadyThere, timers.Existing{Leased: true}, same(oldRunning)},
		{"batch", batchCall, "held by a batch", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"batch", batchCall, "being claimed", timers.AlreadyThere, timers.Existing{}, same(old)},
		{"batch", batchCall, "being deleted", timers.AlreadyThere, timers.Existing{}, same(old)},

		{"reschedule", rescheduleCall(), "none", timers.Scheduled, timers.Existing{}, same(fresh)},
		{"reschedule", rescheduleCall(), "waiting", timers.Rescheduled, timers.Existing{}, same(fresh)},
		{"reschedule", rescheduleCall(), "due", timers.Rescheduled, timers.Existing{}, same(fresh)},
		{"reschedule", rescheduleCall(), "retrying", timers.Rescheduled, timers.Existing{Attempts: 2}, same(fresh)},
		{"reschedule", rescheduleCall(), "running", timers.Rearmed, timers.Existing{Leased: true}, []row{oldParted, fresh}},
		{"reschedule", rescheduleCall(), "abandoned", timers.Rearmed, timers.Existing{Leased: true}, []row{oldParted, fresh}},
		{"reschedule", rescheduleCall(), "held by a batch", timers.Running, timers.Existing{}, same(old)},
		{"reschedule", rescheduleCall(), "being claimed", timers.Running, timers.Existing{}, same(old)},
		{"reschedule", rescheduleCall(), "being deleted", timers.Running, timers.Existing{}, same(old)},
		{"reschedule", rescheduleCall(), "being moved", timers.Running, timers.Existing{}, same(old)},
		{"reschedule", rescheduleCall(), "running and being acknowledged", timers.Running, timers.Existing{Leased: true},
			same(oldRunning)},

		{"reschedule or refuse", rescheduleCall(timers.WhenRunning(timers.Refuse)), "waiting", timers.Rescheduled, timers.Existing{}, same(fresh)},
		{"reschedule or refuse", rescheduleCall(timers.WhenRunning(timers.Refuse)), "running", timers.Running, timers.Existing{Leased: true}, same(oldRunning)},

		{"reschedule to the earliest", rescheduleCall(timers.Keep(timers.Earliest)), "none", timers.Scheduled, timers.Existing{}, same(fresh)},
		{"reschedule to the earliest", rescheduleCall(timers.Keep(timers.Earliest)), "waiting", timers.Rescheduled, timers.Existing{},
			same(row{Payload: "new", Timer: "t", In: 1 * hours})},
		{"reschedule to the earliest", rescheduleCall(timers.Keep(timers.Earliest)), "due", timers.Rescheduled, timers.Existing{},
			same(row{Payload: "new", Timer: "t"})},
		{"reschedule to the latest", rescheduleCall(timers.Keep(timers.Latest)), "waiting", timers.Rescheduled, timers.Existing{}, same(fresh)},
		{"reschedule within 90 minutes", rescheduleCall(timers.MaxWait(90 * time.Minute)), "waiting", timers.Rescheduled, timers.Existing{},
			same(row{Payload: "new", Timer: "t", In: 1.5 * hours})},
		{"reschedule within 3 hours", rescheduleCall(timers.MaxWait(3 * time.Hour)), "waiting", timers.Rescheduled, timers.Existing{}, same(fresh)},
		{"reschedule within 90 minutes", rescheduleCall(timers.MaxWait(90 * time.Minute)), "none", timers.Scheduled, timers.Existing{}, same(fresh)},
		{"the last option holds", rescheduleCall(timers.WhenRunning(timers.Refuse), timers.WhenRunning(timers.Rearm)), "running",
			timers.Rearmed, timers.Existing{Leased: true}, []row{oldParted, fresh}},

		{"cancel", cancelCall, "none", timers.Absent, timers.Existing{}, []row{}},
		{"cancel", cancelCall, "waiting", timers.Cancelled, timers.Existing{}, []row{}},
		{"cancel", cancelCall, "due", timers.Cancelled, timers.Existing{}, []row{}},
		{"cancel", cancelCall, "retrying", timers.Cancelled, timers.Existing{Attempts: 2}, []row{}},
		{"cancel", cancelCall, "running", timers.Running, timers.Existing{Leased: true}, same(oldRunning)},
		{"cancel", cancelCall, "abandoned", timers.Running, timers.Existing{Leased: true}, same(oldRunning)},
		{"cancel", cancelCall, "held by a batch", timers.Running, timers.Existing{}, same(old)},
		{"cancel", cancelCall, "being claimed", timers.Running, timers.Existing{}, same(old)},
		{"cancel", cancelCall, "being deleted", timers.Running, timers.Existing{}, same(old)},
		{"cancel", cancelCall, "being moved", timers.Running, timers.Existing{}, same(old)},
	}
	for name, newSubstrates := range substrates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newSubstrate := newSubstrates(t)
			for _, tt := range tests {
				t.Run(tt.call+", "+tt.state, func(t *testing.T) {
					is := is.New(t)
					s := newSubstrate(t)
					states[tt.state](t, s)
					before := s.see(t, open(t, s))

					ctx, cancel := context.WithTimeout(t.Context(), promptly)
					defer cancel()
					tx := open(t, s)
					res, err := tt.do(ctx, tx)
					is.NoErr(err)
					is.Equal(res.Outcome.String(), tt.want.String())
					is.Equal(res.Existing.ID != 0, len(before) > 0) // what was there is told
					is.Equal(res.Existing.DueAt.IsZero(), len(before) == 0)
					is.Equal(res.Existing.Leased, tt.found.Leased)
					is.Equal(res.Existing.Attempts, tt.found.Attempts)
					is.Equal(res.ID == 0, tt.want == timers.Absent)
					is.Equal(res.DueAt.IsZero(), tt.want == timers.Absent)
					is.Equal(s.see(t, tx), tt.table)

					is.NoErr(tx.Rollback(t.Context())) // and nothing has happened
					is.Equal(s.see(t, open(t, s)), before)
				})
			}
		})
	}
}

// The longest wait counts from when a timer was first stored; one that has run,
// and waits for a retry, begins anew.
func TestMaxWait_CountsFromTheFirstStore(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	tx := begin(t, newDB(t).Pool)
	exec(t, tx, `INSERT INTO outbox (queue, payload, timer_id, created_at, next_attempt_at, attempts_count)
		VALUES ('reminders', 'x', 'new', now() - interval '1 hour', now() + interval '1 hour', 0),
		       ('reminders', 'x', 'old', now() - interval '1 day', now() + interval '1 hour', 0),
		       ('reminders', 'x', 'failed', now() - interval '1 day', now() + interval '1 hour', 3)`)
	for id, want := range map[string]string{"new": "00:30:00", "old": "00:00:00", "failed": "01:30:00"} {
		for range 2 { // again and again
			res, err := timers.RescheduleAfter(t.Context(), tx, id, 2*time.Hour, text("y"), timers.MaxWait(90*time.Minute))
			is.NoErr(err)
			is.Equal(res.Outcome, timers.Rescheduled)
			var in string
			is.NoErr(tx.QueryRow(t.Context(), "SELECT (next_attempt_at - now())::text FROM outbox WHERE timer_id = $1", id).Scan(&in))
			is.Equal(in, want)
		}
	}
}

func TestStored_IsWhatComesToRun(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	for o := range timers.Absent + 2 {
		want := o == timers.Scheduled || o == timers.Rescheduled || o == timers.Rearmed
		is.Equal(timers.Result{Outcome: o}.Stored(), want)
		is.True(o.String() != "")
	}
}
