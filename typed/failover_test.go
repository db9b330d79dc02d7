//go:build unix

package typed_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// node is a server of a test's own, with an outbox in its database postgres.
type node struct {
	*pgserver.Server
	socket string
	pool   *pgxpool.Pool // straight to it
}

func startNode(t *testing.T, opts ...pgserver.Option) node {
	t.Helper()
	if os.Getenv("DATABASE_URL") != "" && os.Getenv("LETTERBOX_PG_BIN") == "" {
		t.Skip("the server must be ours to configure: unset DATABASE_URL, or set LETTERBOX_PG_BIN")
	}
	is := is.New(t)
	s, err := pgserver.Start(t.Context(), append([]pgserver.Option{pgserver.Bin(os.Getenv("LETTERBOX_PG_BIN"))}, opts...)...)
	if errors.Is(err, pgserver.ErrNoBaseBackup) {
		t.Skip(err)
	}
	is.NoErr(err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := pgx.ParseConfig(s.DSN())
	is.NoErr(err)
	// Its own sessions are to write, also where others are fenced off.
	pool := open(t, s.DSN()+"&default_transaction_read_only=off")
	return node{s, filepath.Join(c.Host, fmt.Sprintf(".s.PGSQL.%d", c.Port)), pool}
}

func (n node) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		_, err := n.pool.Exec(t.Context(), sql)
		is.New(t).NoErr(err)
	}
}

// asleep waits until a worker has told n's publishers that it sleeps, and so is
// idle, and listens there.
func (n node) asleep(t *testing.T) {
	t.Helper()
	eventually(t, n.pool, true, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock')")
}

// address is where clients find the primary. Connections that there are stay where
// they lead when it moves.
type address struct {
	*tap
	socket atomic.Pointer[string]
}

func newAddress(t *testing.T, to node) *address {
	t.Helper()
	a := &address{}
	a.leadTo(to)
	a.tap = newTap(t, func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", *a.socket.Load())
	})
	return a
}

func (a *address) leadTo(n node) { a.socket.Store(&n.socket) }

func (a *address) open(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return open(t, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=any", a.port()))
}

// begin runs a worker until the test's end.
func begin(t *testing.T, pool *pgxpool.Pool, opts ...queue.WorkerOption) *queue.Worker {
	t.Helper()
	w, err := queue.NewWorker(pool, append(opts, quietly)...)
	is.New(t).NoErr(err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// health waits until a worker's health is as wanted.
func health(t *testing.T, w *queue.Worker, want func(queue.Health) bool) {
	t.Helper()
	for end := time.Now().Add(patience); !want(w.Health()); pause(t, time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the worker's health is %+v, %v", w.Health(), w.Health().Err())
		}
	}
}

func ready(h queue.Health) bool { return h.Err() == nil && h.Queues[0].Listening }

// A primary that has been replaced may live on, fenced off from writes, and keep
// every connection it has. A worker without work writes nothing that could fail.
func TestFailover_AnIdleWorkerLeavesAFencedPrimary(t *testing.T) {
	t.Parallel()
	for name, handle := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			old, successor := startNode(t), startNode(t)
			for _, n := range []node{old, successor} {
				is.NoErr(queue.Outbox{}.Create(t.Context(), n.pool))
			}
			primary := newAddress(t, old)
			q, got := typed.NewQueue[int]("q"), make(chan int, 10)
			w := begin(t, primary.open(t), queue.PollInterval(100*time.Millisecond), queue.BlindPollInterval(100*time.Millisecond),
				handle(q, got, queue.Concurrency(1)))
			health(t, w, ready)
			old.asleep(t)

			began := time.Now()
			old.exec(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
			health(t, w, func(h queue.Health) bool { return h.Queues[0].Errors >= 5 })
			is.True(w.Health().Err() != nil)
			is.True(time.Since(began) > 375*time.Millisecond) // the least that the pauses between five tries add up to

			primary.leadTo(successor)
			health(t, w, ready)
			successor.asleep(t)
			_, err := q.Publish(t.Context(), queue.Autocommit(successor.pool), 1)
			is.NoErr(err)
			is.Equal(next(t, got), 1)
		})
	}
}

// Whoever connects to a standby in place of the primary cannot even listen there.
func TestFailover_AWorkerOnAStandbyWaitsForThePrimary(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	primary := startNode(t)
	is.NoErr(queue.Outbox{}.Create(t.Context(), primary.pool))
	standby := startNode(t, pgserver.StandbyOf(primary.Server))
	for _, tt := range []struct {
		name string
		then func(*testing.T, *address) node // which takes writes
	}{
		{"the address moves", func(_ *testing.T, a *address) node {
			a.leadTo(primary)
			return primary
		}},
		{"the standby is promoted", func(t *testing.T, _ *address) node {
			is.New(t).NoErr(primary.Close())
			standby.exec(t, "SELECT pg_promote()")
			return standby
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			leased, inTx, held := typed.NewQueue[int]("leased"), typed.NewQueue[int]("in-tx"), typed.NewQueue[int]("held")
			got := make(chan int, 10)
			commit(t, primary.pool, func(tx pgx.Tx) error {
				_, err1 := leased.Publish(t.Context(), tx, 1)
				_, err2 := inTx.Publish(t.Context(), tx, 2)
				_, err3 := held.Publish(t.Context(), tx, 3)
				return errors.Join(err1, err2, err3)
			})
			eventually(t, standby.pool, 3, "SELECT count(*)::int FROM outbox")

			a := newAddress(t, standby)
			w := begin(t, a.open(t), queue.BlindPollInterval(100*time.Millisecond), forms["leased"](leased, got), forms["held"](held, got),
				inTx.HandleTx(func(_ context.Context, _ pgx.Tx, n int) error { got <- n; return nil }))
			health(t, w, func(h queue.Health) bool {
				return h.Queues[0].Errors > 1 && h.Queues[1].Errors > 1 && h.Queues[2].Errors > 1
			})
			is.True(!w.Health().Queues[0].Listening)
			is.Equal(len(got), 0)

			now := tt.then(t, a)
			sum := 0
			for range 3 {
				sum += next(t, got)
			}
			is.Equal(sum, 1+2+3) // once each
			health(t, w, ready)
			eventually(t, now.pool, 0, "SELECT count(*)::int FROM outbox")
			eventually(t, now.pool, 0, "SELECT count(*)::int FROM outbox_dlq")
		})
	}
}
