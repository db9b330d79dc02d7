package typed_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
)

func TestNewWorker_ListsEveryProblem(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	orders := typed.NewQueue[order]("orders")
	handle := func(context.Context, order) error { return nil }
	_, err := queue.NewWorker(nil,
		orders.Handle(handle, queue.Concurrency(0), queue.Prefetch(-1), queue.Lease(0)),
		orders.Handle(handle),
		typed.NewQueue[order]("").Handle(handle),
		typed.NewQueue[order]("no handler").Handle(nil),
		typed.NewQueue[order]("bad policy").Handle(handle, queue.Retry(retry.Constant{Delay: -1})),
		typed.NewQueue[order]("no policy").Handle(handle, queue.Retry(nil)),
		typed.NewQueue[order]("bad table").In(queue.Outbox{Table: strings.Repeat("x", 60)}).Handle(handle),
		typed.NewQueue[order]("early ack").Handle(handle, queue.Acknowledge(queue.AckFirst)),
		typed.NewQueue[order]("deliveries").Handle(handle, queue.MaxDeliveries(-1)),
		typed.NewQueue[order]("text").Handle(handle, queue.ErrorText(nil)),
		typed.NewQueue[order]("middleware").Handle(handle, queue.Use(nil)),
		queue.Subscription{},
		queue.PollInterval(0), queue.BlindPollInterval(-1), queue.Grace(-1), queue.Logger(nil),
	)
	is.True(err != nil)
	for _, part := range []string{
		"pool is nil",
		`"orders": concurrency is 0`, `"orders": prefetch is below zero`, `"orders": lease is 0s`,
		`"orders" has two subscriptions`,
		"invalid queue name: it is empty",
		`"no handler": the handler is nil`,
		`"bad policy": retry policy`, `"no policy": retry policy`,
		`"bad table"`, "63",
		`"early ack": acknowledging before the handler runs is refused: a worker that dies in between would lose the message`,
		`"deliveries": max deliveries is -1`,
		`"text": the renderer`,
		`"middleware": a middleware is nil`,
		"zero value: use the constructor",
		"poll interval is 0s", "blind poll interval is -1ns", "grace period is -1ns", "logger is nil",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q:\n%v", part, err)
		}
	}
	_, err = queue.NewWorker(nil)
	is.True(strings.Contains(err.Error(), "no subscription"))
}

func TestWorker_TakesOverFromOneThatWasKilled(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, []order{{ID: 1}, {ID: 2}, {ID: 3}})
		return err
	})

	child := childCommand(db.DSN)
	out, err := child.StdoutPipe()
	is.NoErr(err)
	is.NoErr(child.Start())
	lines := bufio.NewScanner(out)
	for range 3 {
		is.True(lines.Scan()) // it is in the middle of all three
		is.True(strings.HasPrefix(lines.Text(), "handling "))
	}
	is.NoErr(child.Process.Kill())
	_ = child.Wait()

	got := make(chan *queue.Delivery, 3)
	start(t, db.Pool, queue.Lease(shortLease), queue.PollInterval(100*time.Millisecond), orders.Handle(func(ctx context.Context, o order) error {
		d, _ := queue.FromContext(ctx)
		got <- d
		return nil
	}))
	for range 3 {
		d := next(t, got)
		is.Equal(d.Deliveries, int64(2)) // claimed again
		is.Equal(d.Attempt, int64(1))    // but nobody's handler failed
	}
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

func childCommand(dsn string, env ...string) *exec.Cmd {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), append(env, childDSN+"="+dsn)...)
	child.Stderr = os.Stderr
	return child
}

func TestWorker_KeepsTheLeaseOfALongHandler(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	const lease = time.Second
	begun, finish := make(chan struct{}, 2), make(chan struct{})
	handle := func(ctx context.Context, _ order) error {
		begun <- struct{}{}
		select {
		case <-finish:
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	}
	options := []queue.WorkerOption{queue.Lease(lease), queue.PollInterval(20 * time.Millisecond), orders.Handle(handle)}
	start(t, db.Pool, options...)
	next(t, begun)
	start(t, db.Pool, options...)

	// Several leases later the row is still the first worker's.
	eventually(t, db.Pool, true, "SELECT acquired_at > created_at + make_interval(secs => $1) FROM outbox", 3*lease.Seconds())
	is.Equal(len(begun), 0)
	close(finish)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
	is.Equal(len(begun), 0)
}

func TestWorker_DrainIsBounded(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, []order{{ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}, {ID: 5}})
		return err
	})
	wedged, obedient := make(chan struct{}), make(chan error, 1)
	t.Cleanup(func() { close(wedged) })
	begun := make(chan int, 5)
	stop := start(t, db.Pool, queue.Grace(200*time.Millisecond), orders.Handle(func(ctx context.Context, o order) error {
		begun <- o.ID
		if o.ID == 1 {
			<-wedged // ignores its context
			return nil
		}
		<-ctx.Done()
		obedient <- context.Cause(ctx)
		return ctx.Err()
	}, queue.Concurrency(2), queue.Prefetch(3)))
	next(t, begun)
	next(t, begun)

	began := time.Now()
	err := stop()
	took := time.Since(began)
	is.True(errors.Is(err, queue.ErrUnfinished))
	is.True(took < 200*time.Millisecond+5*time.Second+2*time.Second) // the bound, and what a busy machine adds
	is.Equal(next(t, obedient), queue.ErrShutdown)

	// Unstarted and cancelled rows are back as if they had never been claimed;
	// the wedged one is still leased.
	var free, leased, attempts int
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT
		count(*) FILTER (WHERE acquired_token IS NULL AND deliveries_count = 0 AND next_attempt_at <= now()),
		count(*) FILTER (WHERE acquired_token IS NOT NULL), sum(attempts_count)::int FROM outbox`).Scan(&free, &leased, &attempts))
	is.Equal(free, 4)
	is.Equal(leased, 1)
	is.Equal(attempts, 0)
}

func TestWorker_WithoutNotifications(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	got := make(chan order, 1)
	start(t, db.Pool, queue.NoListen(), queue.BlindPollInterval(20*time.Millisecond), orders.Handle(func(_ context.Context, o order) error {
		got <- o
		return nil
	}))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	is.Equal(next(t, got).ID, 1)
}

func TestWorker_SurvivesTheLossOfEveryConnection(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	got := make(chan order, 1)
	start(t, db.Pool, orders.Handle(func(_ context.Context, o order) error {
		got <- o
		return nil
	}))
	other := db.Connect(t)
	for i := range 3 {
		commit(t, other, func(tx pgx.Tx) error {
			_, err := orders.Publish(t.Context(), tx, order{ID: i})
			return err
		})
		is.Equal(next(t, got).ID, i)
		_, err := other.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		is.NoErr(err)
	}
}

func TestWorker_OneBadQueueDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	later := queue.Outbox{Table: "later"}
	good, bad := typed.NewQueue[order]("good"), typed.NewQueue[order]("bad").In(later)
	said := &logged{}
	got := make(chan string, 10)
	handle := func(name string) func(context.Context, order) error {
		return func(context.Context, order) error {
			got <- name
			return nil
		}
	}
	start(t, db.Pool, queue.Logger(slog.New(slog.NewTextHandler(said, nil))), good.Handle(handle("good")), bad.Handle(handle("bad")))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := good.Publish(t.Context(), tx, order{})
		return err
	})
	is.Equal(next(t, got), "good")
	said.wait(t, "create \\\"later\\\" with Outbox.Create")

	is.NoErr(later.Create(t.Context(), db.Pool)) // somebody mends it
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := bad.Publish(t.Context(), tx, order{})
		return err
	})
	is.Equal(next(t, got), "bad")
}

// logged is a log that tests can wait on.
// A worker that never got as far as the tables has nothing to hand back at its end.
func TestWorker_WithoutTablesStopsAtOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	said := &logged{}
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	stop := start(t, db.Pool, queue.Logger(log), typed.NewQueue[order]("orders").Handle(func(context.Context, order) error { return nil }))
	said.wait(t, "claim from 1 queues") // and is refused
	began := time.Now()
	is.NoErr(stop())
	is.True(time.Since(began) < 1500*time.Millisecond) // the last writes may take 2 s
	is.True(!strings.Contains(said.String(), "could not write the last outcomes"))
}

type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) wait(t *testing.T, part string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(l.String(), part) {
			return
		}
	}
	t.Fatalf("the log never says %q:\n%s", part, l)
}

func TestWorker_HandlersThatUseUpThePoolDoNotStarveTheLeases(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, make([]order, 4))
		return err
	})
	small := db.Connect(t, func(c *pgxpool.Config) { c.MaxConns = 2 })
	const lease = time.Second
	release := make(chan struct{})
	lost := make(chan error, 4)
	begun := make(chan struct{}, 8)
	start(t, small, queue.Lease(lease), orders.Handle(func(ctx context.Context, _ order) error {
		begun <- struct{}{}
		conn, err := small.Acquire(ctx) // two get one, two wait for ever
		if err == nil {
			defer conn.Release()
		}
		select {
		case <-release:
		case <-ctx.Done():
			lost <- context.Cause(ctx)
		}
		return nil
	}, queue.Concurrency(4)))
	for range 4 {
		next(t, begun)
	}
	eventually(t, db.Pool, true, "SELECT min(acquired_at) > min(created_at) + make_interval(secs => $1) FROM outbox", 4*lease.Seconds())
	is.Equal(len(lost), 0)
	close(release)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}
