package typed_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

type order struct {
	ID   int    `json:"id"`
	Note string `json:"note,omitempty"`
}

func TestQueue_DeliversWhatCommits(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")

	got := make(chan order, 10)
	start(t, db.Pool, orders.Handle(func(_ context.Context, o order) error {
		got <- o
		return nil
	}))

	rolledBack := errors.New("rolled back")
	err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		is.NoErr(err)
		return rolledBack
	})
	is.True(errors.Is(err, rolledBack))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 2})
		return err
	})

	is.Equal(next(t, got), order{ID: 2}) // and never order 1
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

func TestQueue_TwoWorkersShareTenThousandMessages(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	const n = 10_000

	values := make([]order, n)
	for i := range values {
		values[i].ID = i
	}
	var ids []int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		ids, err = orders.PublishBatch(t.Context(), tx, values)
		return err
	})
	is.Equal(len(ids), n)

	var mu sync.Mutex
	handled := map[int]int{}
	all := make(chan struct{})
	handle := func(_ context.Context, o order) error {
		mu.Lock()
		defer mu.Unlock()
		handled[o.ID]++
		if len(handled) == n {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return nil
	}
	stop1 := start(t, db.Pool, orders.Handle(handle))
	stop2 := start(t, db.Pool, orders.Handle(handle))
	next(t, all)
	is.NoErr(stop1())
	is.NoErr(stop2())

	is.Equal(rows(t, db.Pool, "outbox"), 0)
	for id, times := range handled {
		if times != 1 {
			t.Fatalf("message %d was handled %d times", id, times)
		}
	}
}

func TestQueue_ReadsWhatItWroteBeforeItsCodecChanged(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	before := typed.NewQueue[order]("orders")
	after := typed.NewQueue("orders", codec.MsgPack[order]())

	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err1 := before.Publish(t.Context(), tx, order{ID: 1})
		_, err2 := after.Publish(t.Context(), tx, order{ID: 2})
		return errors.Join(err1, err2)
	})
	for name, q := range map[string]typed.Queue[order]{"old": before, "new": after} {
		var types []string
		got := make(chan order, 2)
		stop := start(t, db.Pool, queue.Concurrency(1), q.Handle(func(ctx context.Context, o order) error {
			d, _ := queue.FromContext(ctx)
			types = append(types, d.ContentType())
			got <- o
			return queue.Snooze(0)
		}))
		seen := map[int]bool{next(t, got).ID: true, next(t, got).ID: true}
		if len(seen) == 1 {
			seen[next(t, got).ID] = true
		}
		is.NoErr(stop())
		is.Equal(seen, map[int]bool{1: true, 2: true}) // each version reads both
		_ = name
	}
}

func TestQueue_HandlesRowsThatPythonWrote(t *testing.T) {
	t.Parallel()
	// As faststream-outbox 0.13 writes them: no column but these.
	insert := func(t *testing.T, payload, headers any) (sql string, args []any) {
		return `INSERT INTO outbox (queue, payload, headers) VALUES ('q', $1, $2)`, []any{payload, headers}
	}
	const json = `{"content-type": "application/json", "correlation_id": "c-1"}`
	check := func(name string, run func(t *testing.T)) { t.Run(name, func(t *testing.T) { t.Parallel(); run(t) }) }

	check("an int", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte("1"), json)
		is.Equal(receive(t, typed.NewQueue[int]("q"), sql, args...), 1)
	})
	check("a string as JSON", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte(`"one"`), json)
		is.Equal(receive(t, typed.NewQueue[string]("q"), sql, args...), "one")
	})
	check("a string as text", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte(`one`), `{"content-type": "text/plain", "correlation_id": "c-1"}`)
		is.Equal(receive(t, typed.NewQueue[string]("q"), sql, args...), "one")
	})
	check("an object", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte(`{"id": 7, "note": "x"}`), json)
		is.Equal(receive(t, typed.NewQueue[order]("q"), sql, args...), order{7, "x"})
	})
	check("bytes, which have no content type", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte{0, 255}, `{"correlation_id": "c-1"}`)
		is.Equal(receive(t, typed.NewQueue("q", codec.Bytes()), sql, args...), []byte{0, 255})
	})
	check("no headers at all", func(t *testing.T) {
		is := is.New(t)
		sql, args := insert(t, []byte(`{"id": 7}`), nil)
		is.Equal(receive(t, typed.NewQueue[order]("q"), sql, args...), order{ID: 7})
	})
}

// receive runs a statement that inserts a row and returns what the handler got.
func receive[T any](t *testing.T, q typed.Queue[T], sql string, args ...any) T {
	t.Helper()
	db := newDB(t)
	if _, err := db.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	got := make(chan T, 1)
	start(t, db.Pool, q.Handle(func(_ context.Context, v T) error {
		got <- v
		return nil
	}))
	return next(t, got)
}

func TestQueue_WritesTheEnvelopeThatPythonReads(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")

	var id int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		id, err = orders.Publish(t.Context(), tx, order{ID: 7}, queue.Delay(time.Hour),
			queue.CorrelationID("c-1"), queue.Headers(map[string]string{"tenant": `a "b" ü`}))
		return err
	})
	var (
		payload  []byte
		headers  map[string]string
		attempts int
		timer    *string
		late     time.Duration
	)
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT payload, headers, attempts_count + deliveries_count, timer_id,
		next_attempt_at - created_at FROM outbox WHERE id = $1 AND queue = 'orders'`, id).
		Scan(&payload, &headers, &attempts, &timer, &late))
	is.Equal(string(payload), `{"id":7}`)
	is.Equal(headers, map[string]string{"content-type": "application/json", "correlation_id": "c-1", "tenant": `a "b" ü`})
	is.Equal(attempts, 0)
	is.Equal(timer, nil)
	is.Equal(late, time.Hour)
}
