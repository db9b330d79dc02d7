package typed_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// newDB is an empty outbox in a database of the test's own.
func newDB(t testing.TB) *pgtest.DB {
	t.Helper()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(sql))
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// quietly is for workers whose log lines are expected.
var (
	quietly = queue.Logger(discard)
	discard = slog.New(slog.DiscardHandler)
)

// start runs a worker until stop, which returns what Run did. The test's end
// stops it too.
func start(t *testing.T, pool *pgxpool.Pool, opts ...queue.WorkerOption) (stop func() error) {
	t.Helper()
	w, err := queue.NewWorker(pool, append([]queue.WorkerOption{quietly}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// commit runs f in a transaction of its own.
func commit(t *testing.T, pool *pgxpool.Pool, f func(tx pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), pool, f); err != nil {
		t.Fatal(err)
	}
}

// next waits for a value.
func next[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// eventually waits until a query gives the value.
func eventually[T comparable](t *testing.T, pool *pgxpool.Pool, want T, sql string, args ...any) {
	t.Helper()
	is := is.New(t)
	var got T
	for end := time.Now().Add(patience); time.Now().Before(end); {
		is.NoErr(pool.QueryRow(t.Context(), sql, args...).Scan(&got))
		if got == want {
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("%s gave %v, never %v", sql, got, want)
}

// rows counts what is in a table.
func rows(t *testing.T, pool *pgxpool.Pool, table string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// forms are the kinds of handlers, by what becomes of the rows meanwhile.
var forms = map[string]func(typed.Queue[int], chan<- int, ...queue.SubscribeOption) queue.Subscription{
	"leased": func(q typed.Queue[int], got chan<- int, opts ...queue.SubscribeOption) queue.Subscription {
		return q.Handle(func(_ context.Context, n int) error { got <- n; return nil }, opts...)
	},
	"held": func(q typed.Queue[int], got chan<- int, opts ...queue.SubscribeOption) queue.Subscription {
		return q.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*typed.Message[int]) []error {
			for _, m := range batch {
				got <- m.Value
			}
			return make([]error, len(batch))
		}, opts...)
	},
}
