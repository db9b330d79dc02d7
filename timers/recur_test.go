package timers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// report is the message of a tick: the tick itself.
func report(t timers.Tick) queue.Draft {
	payload, err := json.Marshal(t)
	if err != nil {
		return reminders.BadDraft(err)
	}
	return reminders.Draft(payload)
}

// ticks is a handler that tells of each tick it is given.
func ticks(c chan<- timers.Tick) queue.Handler {
	return func(_ context.Context, d *queue.Delivery) error {
		var tick timers.Tick
		err := json.Unmarshal(d.Payload, &tick)
		c <- tick
		return err
	}
}

const ticksQueue = "reminders.ticks.r"

func TestRecur_AFleetRunsEachTickOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	const interval, workers, n = 300 * time.Millisecond, 3, 8
	got := make(chan timers.Tick, 1000)
	for range workers {
		start(t, db.Connect(t), queue.PollInterval(never), reminders.Handle(ticks(got)),
			timers.Recur(reminders, "r", timers.Every(interval), report, timers.CatchUp()))
	}
	seen := map[time.Time]bool{}
	var first time.Time
	complete := func() bool { // n in a row, for they may come out of order
		for i := range n {
			if !seen[first.Add(time.Duration(i)*interval)] {
				return false
			}
		}
		return true
	}
	for !complete() {
		tick := next(t, got)
		is.True(!seen[tick.At]) // twice
		is.True(tick.At.Equal(tick.At.Truncate(interval)))
		is.True(tick.First.Equal(tick.At))
		seen[tick.At] = true
		if first.IsZero() || tick.At.Before(first) {
			first = tick.At
		}
	}
	is.Equal(rowsOf(t, db.Pool, "outbox_dlq"), 0)
	eventually(t, db.Pool, 1, `SELECT count(*)::int FROM outbox WHERE timer_id = 'r' AND queue = $1`, ticksQueue)
}

// setTick puts the timer of the recurring work where a test wants it.
func setTick(t *testing.T, pool *pgxpool.Pool, every timers.Recurrence, at time.Time) {
	t.Helper()
	payload, err := json.Marshal(map[string]any{"at": at, "every": every.String()})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, pool, func(tx pgx.Tx) error {
		_, err := timers.Reschedule(t.Context(), tx, "r", at, queue.New(ticksQueue).Draft(payload))
		return err
	})
}

func TestRecur_MissedTicks(t *testing.T) {
	t.Parallel()
	last := time.Now().Truncate(time.Minute).Add(-30 * time.Minute)
	hourly := timers.Cron(fmt.Sprintf("%d * * * *", last.In(zone(t, "Asia/Kolkata")).Minute()), "Asia/Kolkata")
	tests := []struct {
		name   string
		opts   []timers.RecurOption
		missed int
		want   []int // hours before the last tick
		first  int
	}{
		{"none", nil, 0, []int{0}, 0},
		{"coalesced", nil, 5, []int{0}, 5},
		{"coalesced after years", nil, 50_000, []int{0}, 50_000},
		{"caught up", []timers.RecurOption{timers.CatchUp()}, 5, []int{5, 4, 3, 2, 1, 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			setTick(t, db.Pool, hourly, last.Add(-time.Duration(tt.missed)*time.Hour))
			got := make(chan timers.Tick, 100)
			start(t, db.Pool, queue.Concurrency(1), reminders.Handle(ticks(got)), timers.Recur(reminders, "r", hourly, report, tt.opts...))
			for _, hours := range tt.want {
				tick := next(t, got)
				is.True(tick.At.Equal(last.Add(-time.Duration(hours) * time.Hour)))
				if tt.first > 0 {
					is.True(tick.First.Equal(last.Add(-time.Duration(tt.first) * time.Hour)))
				} else {
					is.True(tick.First.Equal(tick.At))
				}
			}
			eventually(t, db.Pool, true, `SELECT count(*) = 1 AND min(next_attempt_at) = $1 FROM outbox`, last.Add(time.Hour))
			is.Equal(len(got), 0)
		})
	}
}

func TestRecur_StartsAndMovesItsTimer(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	handle := reminders.Handle(ticks(make(chan timers.Tick, 100)))
	with := func(r timers.Recurrence) []queue.WorkerOption {
		return []queue.WorkerOption{handle, timers.Recur(reminders, "r", r, report)}
	}
	q := timers.Of(queue.New(ticksQueue))
	due := func() time.Time {
		t.Helper()
		live, ok, err := q.Get(t.Context(), db.Pool, "r")
		is.NoErr(err)
		is.True(ok)
		return live.DueAt
	}
	yearly, monthly := timers.Cron("@yearly", ""), timers.Cron("@monthly", "")

	stop := start(t, db.Pool, with(yearly)...)
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox")
	stop()
	is.True(due().Equal(yearly.Next(time.Now())))

	// Another worker leaves it alone.
	exec(t, db.Pool, `UPDATE outbox SET next_attempt_at = next_attempt_at + interval '1 day'`)
	stop = start(t, db.Pool, with(yearly)...)
	asleep(t, db.Pool)
	stop()
	is.True(due().Equal(yearly.Next(time.Now()).AddDate(0, 0, 1)))

	// One with another recurrence moves it.
	stop = start(t, db.Pool, with(monthly)...)
	eventually(t, db.Pool, true, "SELECT min(next_attempt_at) = $1 FROM outbox", monthly.Next(time.Now()))
	stop()
	is.Equal(rowsOf(t, db.Pool, "outbox"), 1)

	// When it is gone, the next worker stores it again.
	commit(t, db.Pool, func(tx pgx.Tx) error {
		n, err := q.CancelAll(t.Context(), tx)
		is.Equal(n, timers.CancelCount{Cancelled: 1})
		return err
	})
	start(t, db.Pool, with(monthly)...)
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox")
}

// A message that cannot be made, or panics, is a tick that is late, not lost.
func TestRecur_TriesAgainForEver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	yearly := timers.Cron("@yearly", "")
	at := time.Date(time.Now().Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	setTick(t, db.Pool, yearly, at)
	var calls atomic.Int64
	got := make(chan timers.Tick, 10)
	// Defaults of a worker's that would end a message do not hold for ticks.
	start(t, db.Pool, queue.Acknowledge(queue.RejectOnError), queue.MaxDeliveries(1), reminders.Handle(ticks(got)),
		timers.Recur(reminders, "r", yearly, func(tick timers.Tick) queue.Draft {
			switch calls.Add(1) {
			case 1:
				return reminders.BadDraft(errors.New("not now"))
			case 2:
				panic("nor now")
			}
			return report(tick)
		}))
	is.True(next(t, got).At.Equal(at))
	is.Equal(rowsOf(t, db.Pool, "outbox_dlq"), 0)
	eventually(t, db.Pool, true, "SELECT min(next_attempt_at) = $1 AND count(*) = 1 FROM outbox", yearly.Next(time.Now()))
}

// What somebody else wrote into the queue of ticks does not stop them.
func TestRecur_BearsAStrangeTimer(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	exec(t, db.Pool, `INSERT INTO outbox (queue, payload, timer_id, acquired_at, acquired_token)
		VALUES ($1, 'strange', 'r', now() - interval '1 day', gen_random_uuid())`, ticksQueue)
	got := make(chan timers.Tick, 10)
	yearly := timers.Cron("@yearly", "")
	start(t, db.Pool, reminders.Handle(ticks(got)), timers.Recur(reminders, "r", yearly, report))
	is.True(!next(t, got).At.IsZero())
	eventually(t, db.Pool, true, "SELECT min(next_attempt_at) = $1 AND count(*) = 1 FROM outbox", yearly.Next(time.Now()))
}

func TestRecur_OneAtATime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	begun, finish := make(chan timers.Tick, 100), make(chan struct{})
	start(t, db.Pool, reminders.Handle(func(ctx context.Context, d *queue.Delivery) error {
		_ = ticks(begun)(ctx, d)
		<-finish
		return nil
	}), timers.Recur(reminders, "r", timers.Every(100*time.Millisecond), report, timers.OneAtATime()))
	first := next(t, begun)
	// Five ticks later it still runs, alone.
	eventually(t, db.Pool, true, "SELECT min(next_attempt_at) > $1 FROM outbox WHERE queue = $2", first.At.Add(500*time.Millisecond), ticksQueue)
	is.Equal(len(begun), 0)
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox WHERE queue = 'reminders'")
	close(finish)
	is.True(next(t, begun).At.Sub(first.At) >= 500*time.Millisecond)
}

func TestRecur_BadInputIsReportedByNewWorker(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	hourly := timers.Every(time.Hour)
	_, err := queue.NewWorker(nil,
		timers.Recur(reminders, "", hourly, report),
		timers.Recur(reminders, "a\x00", hourly, report),
		timers.Recur(queue.New(""), "b", hourly, report),
		timers.Recur(queue.New(strings.Repeat("q", 250)), "c", hourly, report),
		timers.Recur(reminders, "d", timers.Cron("0 0 30 2 *", ""), report),
		timers.Recur(reminders, "e", timers.Recurrence{}, report),
		timers.Recur(reminders, "f", hourly, nil),
		timers.Recur(reminders, "g", hourly, report, nil),
		timers.Recur(reminders, "h", hourly, report),
		timers.Recur(reminders, "h", hourly, report),
	)
	is.True(err != nil)
	for _, part := range []string{
		`work "" of queue "reminders": invalid timer id: it is empty`, `not valid text`, `invalid queue name: it is empty`,
		`258 characters`, `work "d" of queue "reminders": invalid recurrence: cron "0 0 30 2 *": it never fires`,
		`work "e"`, `use Every or Cron`, `work "f"`, `is nil`, `work "g"`, `an option is nil`,
		`queue "reminders.ticks.h" has two subscriptions`,
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
}
