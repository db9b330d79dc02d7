package timers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
)

// never is a poll interval that no test lives to see.
const never = time.Hour

// run is one call of a handler.
type run struct {
	timer, payload string
	attempt        int64
	at, due        time.Time
}

// record is a handler that tells of each run.
func record(runs chan<- run) queue.Handler {
	return func(_ context.Context, d *queue.Delivery) error {
		runs <- run{timer: d.TimerID, payload: string(d.Payload), attempt: d.Attempt, at: time.Now(), due: d.DueAt}
		return nil
	}
}

// asleep waits until a worker sleeps: until its listening session says so.
func asleep(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	eventually(t, pool, true, `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
}

func TestWorker_FiresOnTime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	runs := make(chan run, 100)
	start(t, db.Pool, queue.PollInterval(never), reminders.Handle(record(runs), queue.Concurrency(1))) // one at a time, in order
	asleep(t, db.Pool)

	const n, gap = 100, 15 * time.Millisecond // idle in between
	batch := make([]timers.Timer, n)
	for i := range batch {
		batch[i] = timers.Timer{ID: fmt.Sprint(i), After: 200*time.Millisecond + time.Duration(i)*gap, Message: text(fmt.Sprint(i))}
	}
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := timers.ScheduleBatch(t.Context(), tx, batch...)
		return err
	})
	late := make([]time.Duration, n)
	for i := range late {
		r := next(t, runs)
		late[i] = r.at.Sub(r.due)
		is.Equal(r.timer, fmt.Sprint(i)) // in the order of due times
	}
	slices.Sort(late)
	t.Logf("handler start minus due time over %d timers: p50 %v, p99 %v, min %v, max %v", n, late[n/2], late[n*99/100], late[0], late[n-1])
	is.True(late[0] > -time.Millisecond) // never early: one clock on one machine
	is.True(late[n/2] < time.Second)     // a poll is an hour away
}

func TestWorker_IsWokenByWhatIsDueSooner(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	runs := make(chan run, 10)
	schedule(t, db.Pool, "far", time.Hour, "far")
	start(t, db.Pool, queue.PollInterval(never), reminders.Handle(record(runs)))
	asleep(t, db.Pool)

	schedule(t, db.Pool, "near", 50*time.Millisecond, "near")
	is.Equal(next(t, runs).payload, "near")
	asleep(t, db.Pool)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := timers.Reschedule(t.Context(), tx, "far", time.Now().Add(-time.Hour), text("not so far"))
		return err
	})
	is.Equal(next(t, runs).payload, "not so far") // the past is now
}

// A timer that is moved by a transaction which is open when its old time comes is
// locked then, and its new time cannot be seen: the commit has to tell.
func TestWorker_SeesATimerThatWasMovedUnderItsNose(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	runs := make(chan run, 10)
	schedule(t, db.Pool, "t", 300*time.Millisecond, "old")
	start(t, db.Pool, queue.PollInterval(never), reminders.Handle(record(runs)))

	tx := begin(t, db.Pool)
	_, err := timers.RescheduleAfter(t.Context(), tx, "t", 700*time.Millisecond, text("new"))
	is.NoErr(err)
	eventually(t, db.Pool, true, "SELECT next_attempt_at < now() - interval '50 milliseconds' FROM outbox")
	is.NoErr(tx.Commit(t.Context()))
	r := next(t, runs)
	is.Equal(r.payload, "new")
	is.True(r.at.Sub(r.due) > -time.Millisecond)
}

func TestWorker_FiresWithoutNotifications(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	runs := make(chan run, 10)
	start(t, db.Pool, queue.NoListen(), queue.BlindPollInterval(20*time.Millisecond), reminders.Handle(record(runs)))
	schedule(t, db.Pool, "t", 100*time.Millisecond, "x")
	is.Equal(next(t, runs).payload, "x")
}

// skewed is a database whose clock is off by so much from everybody else's: its
// now() is one of the test's own, found before PostgreSQL's by the search_path of
// every connection. (The clock of a Go process cannot be moved from within, and
// only the difference counts.)
func skewed(t *testing.T, by time.Duration) *pgxpool.Pool {
	t.Helper()
	db := pgtest.New(t)
	for _, sql := range []string{
		"CREATE SCHEMA clock",
		fmt.Sprintf("CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT pg_catalog.now() + interval '%d seconds' $$", int(by.Seconds())),
	} {
		if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	pool := db.Connect(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["search_path"] = "clock, pg_catalog, public"
	})
	if err := (queue.Outbox{Schema: "public"}).Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestWorker_WithAClockThatIsHoursOff(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
		t.Run(fmt.Sprint("database ahead by ", by), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			pool := skewed(t, by)
			q := queue.New("reminders").In(queue.Outbox{Schema: "public"})
			var off time.Duration
			is.NoErr(pool.QueryRow(t.Context(), "SELECT now() - pg_catalog.now()").Scan(&off))
			is.Equal(off, by)
			runs := make(chan run, 10)
			start(t, pool, queue.PollInterval(never), q.Handle(record(runs)))

			// Half way between the clocks: past by the one, future by the other.
			between := time.Now().Add(by / 2)
			began := time.Now()
			commit(t, pool, func(tx pgx.Tx) error {
				_, err1 := timers.Schedule(t.Context(), tx, "between", between, q.Draft([]byte("between")))
				_, err2 := timers.ScheduleAfter(t.Context(), tx, "soon", 300*time.Millisecond, q.Draft([]byte("soon")))
				_, err3 := timers.Schedule(t.Context(), tx, "later", time.Now().Add(by+600*time.Millisecond), q.Draft([]byte("later")))
				return errors.Join(err1, err2, err3)
			})
			ran := map[string]time.Duration{} // in any order: a slow worker finds several due at once
			for len(ran) < 2 || by > 0 && len(ran) < 3 {
				r := next(t, runs)
				ran[r.payload] = r.at.Sub(began)
			}
			_, past := ran["between"]
			is.Equal(past, by > 0)
			is.True(ran["soon"] >= 300*time.Millisecond) // durations are the same everywhere
			is.True(ran["later"] >= 600*time.Millisecond)
			is.Equal(len(runs), 0)
		})
	}
}

// statements counts what the connections of a pool are sent.
type statements struct{ queries, batches atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.queries.Add(1)
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	s.batches.Add(1)
	return ctx
}
func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func TestWorker_SendsNothingWhileTimersWait(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	batch := make([]timers.Timer, 1000)
	for i := range batch {
		batch[i] = timers.Timer{ID: fmt.Sprint(i), After: time.Hour, Message: text("")}
	}
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := timers.ScheduleBatch(t.Context(), tx, batch...)
		return err
	})
	var sent statements
	traced := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &sent })
	runs := make(chan run, 1)
	const poll = 500 * time.Millisecond
	start(t, traced, queue.PollInterval(poll), reminders.Handle(record(runs)))
	asleep(t, db.Pool)

	before := sent.queries.Load() + sent.batches.Load()
	const polls = 4
	select {
	case <-time.After(polls * poll): // the absence of something has no event
	case <-runs:
		t.Fatal("a timer fired")
	}
	after := sent.queries.Load() + sent.batches.Load()
	t.Logf("%d round trips in %d polls", after-before, polls)
	is.True(after-before <= polls+1)
}

func TestReschedule_WhileItsHandlerRuns(t *testing.T) {
	t.Parallel()
	fail := errors.New("it failed")
	for name, outcome := range map[string]error{"and succeeds": nil, "and fails": fail} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			begun, finish := make(chan run, 10), make(chan error)
			start(t, db.Pool, queue.PollInterval(never), queue.Retry(retry.Constant{Delay: time.Hour, MaxAttempts: 5}),
				reminders.Handle(func(ctx context.Context, d *queue.Delivery) error {
					_ = record(begun)(ctx, d)
					return <-finish
				}))
			schedule(t, db.Pool, "t", 0, "first")
			is.Equal(next(t, begun).payload, "first")

			var res timers.Result
			commit(t, db.Pool, func(tx pgx.Tx) (err error) {
				res, err = timers.RescheduleAfter(t.Context(), tx, "t", 0, text("second"))
				return err
			})
			is.Equal(res.Outcome, timers.Rearmed)
			second := next(t, begun) // without waiting for the first
			is.Equal(second.payload, "second")
			is.Equal(second.timer, "t")
			finish <- outcome
			finish <- outcome
			if outcome == nil {
				eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
				return
			}
			eventually(t, db.Pool, 2, "SELECT count(*)::int FROM outbox WHERE acquired_token IS NULL AND attempts_count = 1")
			list := table(t, db.Pool)
			is.Equal(list[0].Timer, "") // it goes on as a plain message
			is.Equal(list[1].Timer, "t")
		})
	}
}

// A handler can schedule its own next run, in the transaction that ends this one.
func TestReschedule_ByItsOwnHandler(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	begun := make(chan run, 10)
	start(t, db.Pool, queue.PollInterval(never), queue.Retry(retry.Constant{Delay: 10 * time.Millisecond, MaxAttempts: 2}),
		reminders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_ = record(begun)(ctx, d)
			res, err := timers.RescheduleAfter(ctx, tx, "t", time.Hour, text("again"))
			is.NoErr(err)
			is.Equal(res.Outcome, timers.Rearmed)
			if d.Attempt == 1 {
				return errors.New("rolled back")
			}
			return nil
		}))
	schedule(t, db.Pool, "t", 0, "first")
	is.Equal(next(t, begun).attempt, int64(1))
	second := next(t, begun)
	is.Equal(second.attempt, int64(2))
	is.Equal(second.timer, "t") // the failed one has changed nothing
	eventually(t, db.Pool, "again", "SELECT string_agg(convert_from(payload, 'UTF8'), ',') FROM outbox")
	is.Equal(table(t, db.Pool), []row{{Payload: "again", Timer: "t", In: hours}})
}

// The rows of a transactional batch are locked for as long as its handler runs.
func TestCalls_DoNotWaitForABatch(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	begun, finish := make(chan struct{}, 10), make(chan struct{})
	start(t, db.Pool, queue.PollInterval(never),
		reminders.HandleBatchTx(func(context.Context, pgx.Tx, []*queue.Delivery) []error {
			begun <- struct{}{}
			<-finish
			return []error{nil}
		}))
	schedule(t, db.Pool, "t", 0, "first")
	next(t, begun)
	ctx, cancel := context.WithTimeout(t.Context(), promptly)
	defer cancel()
	tx := begin(t, db.Pool)
	for _, c := range []struct {
		do   call
		want timers.Outcome
	}{{scheduleCall, timers.AlreadyThere}, {batchCall, timers.AlreadyThere}, {rescheduleCall(), timers.Running}, {cancelCall, timers.Running}} {
		res, err := c.do(ctx, tx)
		is.NoErr(err)
		is.Equal(res.Outcome, c.want)
		is.True(!res.Stored())
	}
	is.NoErr(tx.Commit(t.Context()))
	close(finish)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

// A timer that a transaction has locked when it becomes due is as it was when that
// is rolled back, and nobody is told. The workers notice by themselves.
func TestWorker_FiresAfterARollback(t *testing.T) {
	t.Parallel()
	forms := map[string]func(chan<- run) queue.Subscription{
		"leased": func(runs chan<- run) queue.Subscription { return reminders.Handle(record(runs)) },
		"held": func(runs chan<- run) queue.Subscription {
			return reminders.HandleBatchTx(func(ctx context.Context, _ pgx.Tx, batch []*queue.Delivery) []error {
				errs := make([]error, len(batch))
				for i, d := range batch {
					errs[i] = record(runs)(ctx, d)
				}
				return errs
			})
		},
	}
	changes := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"cancel": func(ctx context.Context, tx pgx.Tx) error {
			_, err := timers.Of(reminders).Cancel(ctx, tx, "t")
			return err
		},
		"reschedule": func(ctx context.Context, tx pgx.Tx) error {
			_, err := timers.RescheduleAfter(ctx, tx, "t", time.Hour, text("new"))
			return err
		},
	}
	for form, handle := range forms {
		for change, undone := range changes {
			t.Run(form+" "+change, func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := newDB(t)
				runs := make(chan run, 10)
				start(t, db.Pool, queue.PollInterval(never), handle(runs))
				asleep(t, db.Pool)
				schedule(t, db.Pool, "t", time.Second, "old")
				tx := begin(t, db.Pool)
				is.NoErr(undone(t.Context(), tx))
				eventually(t, db.Pool, true, "SELECT next_attempt_at < now() - interval '100 milliseconds' FROM outbox")
				is.Equal(len(runs), 0)
				is.NoErr(tx.Rollback(t.Context()))
				is.Equal(next(t, runs).payload, "old") // a poll is an hour away
			})
		}
	}
}

// A transaction that has moved running timers, and goes on, has their rows locked.
func TestReschedule_AnOpenTransactionHoldsUpNobody(t *testing.T) {
	t.Parallel()
	ends := map[string]func() error{
		"acknowledged": func() error { return nil },
		"retried":      func() error { return queue.RetryAfter(errors.New("it failed"), time.Hour) },
		"buried":       func() error { return queue.Permanent(errors.New("it failed")) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			digests, busy := queue.New("digests"), queue.New("busy")
			begun, handled := make(chan string, 2), make(chan string, 1)
			finish := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
			start(t, db.Pool, queue.PollInterval(never),
				digests.Handle(func(_ context.Context, d *queue.Delivery) error {
					begun <- d.TimerID
					<-finish[d.TimerID]
					return end()
				}, queue.Concurrency(2)),
				busy.Handle(func(_ context.Context, d *queue.Delivery) error {
					handled <- string(d.Payload)
					return nil
				}))
			commit(t, db.Pool, func(tx pgx.Tx) error {
				for id := range finish {
					if _, err := timers.ScheduleAfter(t.Context(), tx, id, 0, digests.Draft([]byte("old"))); err != nil {
						return err
					}
				}
				return nil
			})
			next(t, begun)
			next(t, begun)

			tx := begin(t, db.Pool)
			for id := range finish {
				res, err := timers.RescheduleAfter(t.Context(), tx, id, time.Hour, digests.Draft([]byte("new")))
				is.NoErr(err)
				is.Equal(res.Outcome, timers.Rearmed)
			}
			for i, id := range []string{"a", "b"} { // one exchange each
				close(finish[id])
				for n := range 3 {
					want := fmt.Sprint(i, n)
					commit(t, db.Pool, func(tx pgx.Tx) error {
						_, err := busy.Publish(t.Context(), tx, []byte(want))
						return err
					})
					is.Equal(next(t, handled), want)
				}
			}
			const running = "SELECT count(*)::int FROM outbox WHERE queue = 'digests' AND acquired_token IS NOT NULL"
			eventually(t, db.Pool, 2, running)
			is.NoErr(tx.Commit(t.Context()))
			eventually(t, db.Pool, 0, running)
		})
	}
}
