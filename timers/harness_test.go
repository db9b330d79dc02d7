package timers_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// reminders is the queue of most tests.
var reminders = queue.New("reminders")

// newDB is an empty outbox in a database of the test's own.
func newDB(t testing.TB) *pgtest.DB {
	t.Helper()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(sql))
}

// patience is how long a test waits for what must happen, and promptly what
// counts as not having waited for a lock that is never let go.
const (
	patience = 20 * time.Second
	promptly = 5 * time.Second
)

// quietly is for workers whose log lines are expected.
var quietly = queue.Logger(slog.New(slog.DiscardHandler))

// text is a message.
func text(s string) queue.Draft { return reminders.Draft([]byte(s)) }

// commit runs f in a transaction of its own.
func commit(t testing.TB, pool *pgxpool.Pool, f func(tx pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), pool, f); err != nil {
		t.Fatal(err)
	}
}

// begin starts a transaction that the test's end rolls back.
func begin(t testing.TB, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

// exec runs a statement that must succeed.
func exec(t testing.TB, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, sql string, args ...any) {
	t.Helper()
	var n int
	if err := db.QueryRow(t.Context(), "WITH done AS ("+sql+" RETURNING 1) SELECT count(*)::int FROM done", args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
}

// start runs a worker until the test's end, or until stop is called.
func start(t testing.TB, pool *pgxpool.Pool, opts ...queue.WorkerOption) (stop func()) {
	t.Helper()
	w, err := queue.NewWorker(pool, append([]queue.WorkerOption{quietly}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx) // tests look at what was handled
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
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
func eventually[T comparable](t testing.TB, pool *pgxpool.Pool, want T, sql string, args ...any) {
	t.Helper()
	var got T
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
			t.Fatal(err)
		}
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

// row is what a test compares of a row of the table.
type row struct {
	Payload string
	Timer   string
	// In is how long after now it is due, in whole seconds.
	In                   int
	Leased               bool
	Attempts, Deliveries int
}

// table is what the outbox holds, in the order of ids, as tx sees it.
func table(t testing.TB, tx interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}) []row {
	t.Helper()
	rows, err := tx.Query(t.Context(), `SELECT convert_from(payload, 'UTF8'), COALESCE(timer_id, ''),
		round(extract(epoch FROM next_attempt_at - created_at))::int,
		acquired_token IS NOT NULL, attempts_count::int, deliveries_count::int FROM outbox ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// schedule stores a timer in a transaction of its own.
func schedule(t testing.TB, pool *pgxpool.Pool, id string, after time.Duration, payload string) timers.Result {
	t.Helper()
	var res timers.Result
	commit(t, pool, func(tx pgx.Tx) (err error) {
		res, err = timers.ScheduleAfter(t.Context(), tx, id, after, text(payload))
		return err
	})
	return res
}

// sqlState is PostgreSQL's code of an error.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
