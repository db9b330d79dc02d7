package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestPing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	is.NoErr(queue.Outbox{}.Ping(t.Context(), db.Pool))

	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	is.NoErr(queue.Outbox{}.Ping(t.Context(), tx))
	is.NoErr(tx.Rollback(t.Context()))

	err = queue.Outbox{Table: "other"}.Ping(t.Context(), db.Pool)
	is.True(errors.Is(err, queue.ErrNoTable))

	reader := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on" })
	err = queue.Outbox{}.Ping(t.Context(), reader)
	is.True(errors.Is(err, queue.ErrReadOnly))

	kept := role(t, db, "letterbox_may_not_ping")
	err = queue.Outbox{}.Ping(t.Context(), kept)
	is.True(err != nil && strings.Contains(err.Error(), `ping "outbox": the role may not do this`))
	exec(t, db, `GRANT SELECT, INSERT ON outbox TO letterbox_may_not_ping`) // a publisher
	is.NoErr(queue.Outbox{}.Ping(t.Context(), kept))
}

func TestPing_IsBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		block func(t *testing.T, db *pgtest.DB, pool *pgxpool.Pool)
	}{
		{"a table that is locked", func(t *testing.T, db *pgtest.DB, _ *pgxpool.Pool) {
			tx, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
			if _, err := tx.Exec(t.Context(), `LOCK TABLE outbox`); err != nil {
				t.Fatal(err)
			}
		}},
		{"a pool that is used up", func(t *testing.T, _ *pgtest.DB, pool *pgxpool.Pool) {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Release)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema(created(t)))
			pool := db.Connect(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
			tt.block(t, db, pool)
			began := time.Now()
			err := queue.Outbox{}.Ping(t.Context(), pool)
			is.True(errors.Is(err, context.DeadlineExceeded))
			is.True(time.Since(began) >= queue.PingTimeout)

			ctx, cancel := context.WithCancel(t.Context()) // the caller's own bound
			cancel()
			is.True(errors.Is(queue.Outbox{}.Ping(ctx, pool), context.Canceled))
		})
	}
}

// healthy waits until the worker's health is as wanted.
func healthy(t *testing.T, w *queue.Worker, want func(queue.Health) bool) queue.Health {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		h := w.Health()
		if want(h) {
			return h
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the worker's health is %+v", h)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWorkerHealth_FromItsStartToItsEnd(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `INSERT INTO outbox (queue, payload, next_attempt_at)
		SELECT q, '', now() - interval '1 hour' FROM unnest('{leased,leased,held}'::text[]) AS q`)
	later := queue.Outbox{Table: "later"}

	begun, free := make(chan string, 10), make(chan struct{})
	work := func(name string) error {
		begun <- name
		<-free
		return nil
	}
	w, err := queue.NewWorker(db.Pool, queue.Logger(slog.New(slog.DiscardHandler)),
		queue.New("leased").Handle(func(context.Context, *queue.Delivery) error { return work("leased") },
			queue.Concurrency(1), queue.Prefetch(0)),
		queue.New("held").HandleBatchTx(func(context.Context, pgx.Tx, []*queue.Delivery) []error { return []error{work("held")} }),
		queue.New("q").In(later).Handle(func(context.Context, *queue.Delivery) error { return nil }),
	)
	is.NoErr(err)
	h := w.Health()
	is.Equal(h, queue.Health{State: queue.NotStarted, Queues: []queue.QueueHealth{
		{Queue: "leased"}, {Queue: "held"}, {Outbox: later, Queue: "q"},
	}})
	is.True(strings.HasPrefix(h.Err().Error(), "the worker is not started\n"))

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-begun
	<-begun

	// A message that waits for a free handler, a table that is missing, and
	// notifications.
	h = healthy(t, w, func(h queue.Health) bool {
		return h.Queues[2].Errors > 1 && h.Queues[0].Listening && h.Queues[2].Listening
	})
	is.Equal(h.State, queue.Running)
	is.True(!h.Queues[0].LastClaim.IsZero())
	is.True(h.Queues[0].Lag > time.Hour && h.Queues[0].Lag < 2*time.Hour)
	is.Equal(h.Queues[0].LastError, nil)
	is.True(errors.Is(h.Queues[2].LastError, queue.ErrNoTable))
	is.True(strings.Contains(h.Err().Error(), `queue "q" has failed`))

	is.NoErr(later.Create(t.Context(), db.Pool))
	close(free)
	h = healthy(t, w, func(h queue.Health) bool { return h.Err() == nil })
	is.Equal(h.Queues[2].LastError, nil)
	is.Equal(h.Queues[2].Lag, time.Duration(0))

	stop()
	is.NoErr(<-ended)
	h = w.Health()
	is.Equal(h.State, queue.Stopped)
	is.Equal(h.Err().Error(), "the worker is stopped")
}

// What a pool's BeforeConnect knows, such as a password of the minute, is known to
// the connection that listens, too.
func TestWorkerHealth_ListensAsThePoolConnects(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	pool := db.Connect(t, func(c *pgxpool.Config) {
		user := c.ConnConfig.User
		c.ConnConfig.User = "letterbox_nobody"
		c.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			c.User = user
			return nil
		}
	})
	w, err := queue.NewWorker(pool, queue.Logger(slog.New(slog.DiscardHandler)),
		queue.New("q").Handle(func(context.Context, *queue.Delivery) error { return nil }))
	is.NoErr(err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	healthy(t, w, func(h queue.Health) bool { return h.Queues[0].Listening })
	stop()
	is.NoErr(<-ended)
}

func TestWorkerHealth_SaysThatItPollsAndThatItDrains(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `INSERT INTO outbox (queue, payload) VALUES ('q', '')`)
	begun, free := make(chan struct{}), make(chan struct{})
	w, err := queue.NewWorker(db.Pool, queue.NoListen(), queue.Logger(slog.New(slog.DiscardHandler)),
		queue.New("q").Handle(func(context.Context, *queue.Delivery) error {
			close(begun)
			<-free
			return nil
		}))
	is.NoErr(err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	<-begun
	h := w.Health()
	is.NoErr(h.Err()) // polling is no fault
	is.True(!h.Queues[0].Listening)

	stop()
	h = healthy(t, w, func(h queue.Health) bool { return h.State == queue.Draining })
	is.Equal(h.Err().Error(), "the worker is draining")
	close(free)
	is.NoErr(<-ended)
	is.Equal(w.Health().State, queue.Stopped)
}
