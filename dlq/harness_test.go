package dlq_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
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

// letters are those of the outbox that newDB makes.
var letters = dlq.In(queue.Outbox{})

// put is a dead letter that a test has in its table.
type put struct {
	queue   string // default "orders"
	payload string
	headers any // JSON text; default nil
	timer   string
	reason  string // default "rejected"
	err     string
	age     time.Duration
}

// fill writes letters and returns their ids.
func fill(t *testing.T, db access.Pool, list ...put) (ids []int64) {
	t.Helper()
	if box, ok := db.(*queuetest.Box); ok {
		return inter(t, box, list)
	}
	for i, p := range list {
		var id int64
		const insert = `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failed_at,
				failure_reason, last_exception, timer_id)
			VALUES ($1, $2, $3, $4, 3, now() - interval '1 day', now() - $5::interval, $6, NULLIF($7, ''), NULLIF($8, '')) RETURNING id`
		err := db.QueryRow(t.Context(), insert, 1000+i, cmp.Or(p.queue, "orders"), []byte(p.payload), p.headers, p.age,
			cmp.Or(p.reason, queue.ReasonRejected), p.err, p.timer).Scan(&id)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// fillMany writes n letters of a queue, each with an original id and a second of its own.
func fillMany(t *testing.T, db access.Pool, queue string, n int) {
	t.Helper()
	if box, ok := db.(*queuetest.Box); ok {
		for i := range n {
			inter(t, box, []put{{queue: queue, payload: "payload", age: time.Duration(n-1-i) * time.Second}})
		}
		return
	}
	const insert = `INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failed_at, failure_reason)
		SELECT n, $1, 'payload', 1, now(), now() - make_interval(secs => $2 - n), 'rejected' FROM generate_series(1, $2::int) AS n`
	if _, err := db.(*pgxpool.Pool).Exec(t.Context(), insert, queue, n); err != nil {
		t.Fatal(err)
	}
}

// get scans the one row of a query into a value.
func get[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func letterCount(t *testing.T, db access.Pool) int {
	if box, ok := db.(*queuetest.Box); ok {
		return len(storeOf(t, box).DeadLetters())
	}
	return get[int](t, db.(*pgxpool.Pool), "SELECT count(*) FROM outbox_dlq")
}

func messageCount(t *testing.T, db access.Pool) int {
	if box, ok := db.(*queuetest.Box); ok {
		return len(storeOf(t, box).Rows())
	}
	return get[int](t, db.(*pgxpool.Pool), "SELECT count(*) FROM outbox")
}

// idsOf lists the ids of letters.
func idsOf(list []dlq.Letter) []int64 {
	ids := []int64{}
	for _, l := range list {
		ids = append(ids, l.ID)
	}
	return ids
}

// commit runs f in a transaction of its own.
func commit(t *testing.T, pool queue.Beginner, f func(tx pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), pool, f); err != nil {
		t.Fatal(err)
	}
}

// lock holds letters in a transaction until the test's end.
func lock(t *testing.T, db access.Pool, ids ...int64) {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, inMemory := db.(*queuetest.Box); inMemory {
		if done, err := letters.Replay(t.Context(), tx, ids); err != nil || done.Moved != int64(len(ids)) {
			t.Fatal(done, err)
		}
		return
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM outbox_dlq WHERE id = ANY($1) FOR UPDATE", ids); err != nil {
		t.Fatal(err)
	}
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// start runs a worker until the test's end, or until stop.
func start(t *testing.T, pool *pgxpool.Pool, log *slog.Logger, opts ...queue.WorkerOption) (stop func() error) {
	t.Helper()
	w, err := queue.NewWorker(pool, append([]queue.WorkerOption{queue.Logger(log)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// eventually waits until a query gives the value.
func eventually[T comparable](t *testing.T, pool *pgxpool.Pool, want T, sql string) {
	t.Helper()
	is := is.New(t)
	var got T
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		is.NoErr(pool.QueryRow(t.Context(), sql).Scan(&got))
		if got == want {
			return
		}
	}
	t.Fatalf("%s gave %v, never %v", sql, got, want)
}

// reasons tells a replay's skips apart: letter by letter, as text.
func reasons(done dlq.Replayed) map[int64]string {
	m := map[int64]string{}
	for _, s := range done.Skips {
		m[s.Letter] = fmt.Sprint(s.Err)
	}
	return m
}
