package typed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx" of database/sql
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

func TestPublish_RefusesBadInput(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	tests := []struct {
		name string
		do   func(tx queue.Tx) error
		want error  // found by errors.Is; nil: any error
		says string // part of the text
	}{
		{"empty queue name", publish(typed.NewQueue[order](""), order{}), queue.ErrInvalidName, "empty"},
		{"long queue name", publish(typed.NewQueue[order](strings.Repeat("ü", 256)), order{}), queue.ErrInvalidName, "256 characters"},
		{"NUL in queue name", publish(typed.NewQueue[order]("a\x00b"), order{}), queue.ErrInvalidName, "NUL"},
		{"queue name that is not UTF-8", publish(typed.NewQueue[order]("a\xff"), order{}), queue.ErrInvalidName, "UTF-8"},
		{"zero queue", publish(typed.Queue[order]{}, order{}), queue.ErrNotMade, ""},
		{"nil transaction", func(queue.Tx) error { _, err := orders.Publish(t.Context(), nil, order{}); return err }, queue.ErrNoTransaction, `queue "orders"`},
		{"nil *pgxpool.Tx", func(queue.Tx) error { _, err := orders.Publish(t.Context(), (*pgxpool.Tx)(nil), order{}); return err }, queue.ErrNoTransaction, ""},
		{"nil *sql.Tx", func(queue.Tx) error { _, err := orders.Publish(t.Context(), queue.SQL(nil), order{}); return err }, queue.ErrNoTransaction, ""},
		{"nil database", func(queue.Tx) error {
			_, err := orders.Publish(t.Context(), queue.Autocommit(nil), order{})
			return err
		}, queue.ErrNoTransaction, ""},
		{"nil pool", func(queue.Tx) error {
			_, err := orders.Publish(t.Context(), queue.Autocommit((*pgxpool.Pool)(nil)), order{})
			return err
		}, queue.ErrNoTransaction, ""},
		{"value that does not encode", publish(typed.NewQueue[chan int]("orders"), make(chan int)), nil, "chan int"},
		{"payload over the limit", publish(orders.MaxBytes(10), order{Note: "long enough"}), queue.ErrTooLarge, "limit is 10"},
		{"header of the envelope", publish(orders, order{}, queue.Headers(map[string]string{"content-type": "x"})), queue.ErrInvalidHeader, `"content-type"`},
		{"header of the envelope, too", publish(orders, order{}, queue.Headers(map[string]string{"correlation_id": "x"})), queue.ErrInvalidHeader, `"correlation_id"`},
		{"header without a name", publish(orders, order{}, queue.Headers(map[string]string{"": "x"})), queue.ErrInvalidHeader, "empty"},
		{"NUL in a header", publish(orders, order{}, queue.Headers(map[string]string{"a": "x\x00"})), queue.ErrInvalidHeader, "NUL"},
		{"header that is not UTF-8", publish(orders, order{}, queue.Headers(map[string]string{"a": "\xff"})), queue.ErrInvalidHeader, "UTF-8"},
		{"headers over the limit", publish(orders, order{}, queue.Headers(map[string]string{"a": strings.Repeat("x", 64<<10)})), queue.ErrTooLarge, "headers"},
		{"NUL in the correlation id", publish(orders, order{}, queue.CorrelationID("\x00")), queue.ErrInvalidHeader, "correlation id"},
		{"negative delay", publish(orders, order{}, queue.Delay(-1)), queue.ErrInvalidDelay, "-1ns, it may be 0 to 87600h0m0s"},
		{"delay of centuries", publish(orders, order{}, queue.Delay(1<<63-1)), queue.ErrInvalidDelay, ""},
		{"long table name", publish(orders.In(queue.Outbox{Table: strings.Repeat("t", 52)}), order{}), nil, "_pending_idx"},
		{"long dead-letter table name", publish(orders.In(queue.Outbox{DeadLetters: strings.Repeat("t", 60)}), order{}), nil, "_queue_failed_idx"},
		{"missing table", publish(orders.In(queue.Outbox{Table: "missing"}), order{}), queue.ErrNoTable, "Outbox.Create"},
		{"missing schema", publish(orders.In(queue.Outbox{Schema: "missing"}), order{}), queue.ErrNoTable, "Outbox.Create"},
		{"two codecs of one kind", publish(typed.NewQueue("orders", codec.JSON[order](), codec.JSON[order]()), order{}), nil, "application/json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			tx, err := db.Pool.Begin(t.Context())
			is.NoErr(err)
			defer func() { _ = tx.Rollback(context.Background()) }()
			err = tt.do(tx)
			is.True(err != nil)
			is.True(tt.want == nil || errors.Is(err, tt.want)) // the sentinel
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			is.True(!strings.Contains(err.Error(), "long enough")) // never the payload
		})
	}
	is.New(t).Equal(rows(t, db.Pool, "outbox"), 0)
}

func publish[T any](q typed.Queue[T], v T, opts ...queue.PublishOption) func(queue.Tx) error {
	return func(tx queue.Tx) error {
		_, err := q.Publish(context.Background(), tx, v, opts...)
		return err
	}
}

func TestPublish_QuotesStrangeTableNames(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	strange := queue.Outbox{Table: `odd"; DROP TABLE outbox; --`}
	is.NoErr(strange.Create(t.Context(), db.Pool))
	is.NoErr(strange.Create(t.Context(), db.Pool)) // again: nothing to do
	orders := typed.NewQueue[order](`o'r"d\e;rs`).In(strange)

	got := make(chan order, 1)
	start(t, db.Pool, orders.Handle(func(_ context.Context, o order) error {
		got <- o
		return nil
	}))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	is.Equal(next(t, got).ID, 1)
	is.Equal(rows(t, db.Pool, "outbox"), 0) // still there
}

func TestPublishBatch_AnySize(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 1_999, 2_000, 12_345, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			db := newDB(t)
			standard, err := sql.Open("pgx", db.DSN)
			if err != nil {
				t.Fatal(err)
			}
			defer standard.Close()
			ways := map[string]func(is *is.I, f func(queue.Tx)){
				"pgx": func(is *is.I, f func(queue.Tx)) {
					tx, err := db.Pool.Begin(t.Context())
					is.NoErr(err)
					f(tx)
					is.NoErr(tx.Commit(t.Context()))
				},
				"database/sql": func(is *is.I, f func(queue.Tx)) {
					tx, err := standard.BeginTx(t.Context(), nil)
					is.NoErr(err)
					f(queue.SQL(tx))
					is.NoErr(tx.Commit())
				},
				"autocommit": func(_ *is.I, f func(queue.Tx)) { f(queue.Autocommit(db.Pool)) },
			}
			for name, in := range ways {
				is := is.New(t)
				orders := typed.NewQueue[order](name)
				values := make([]order, n)
				for i := range values {
					values[i].ID = i
				}
				in(is, func(tx queue.Tx) {
					ids, err := orders.PublishBatch(t.Context(), tx, values, queue.Delay(time.Minute))
					is.NoErr(err)
					is.Equal(len(ids), n)
					for i := 1; i < n; i++ {
						if ids[i] <= ids[i-1] {
							t.Fatalf("ids are not in order at %d", i)
						}
					}
				})
				var count, inOrder, late int
				is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT count(*),
					count(*) FILTER (WHERE (convert_from(payload, 'UTF8')::json->>'id')::int = nth - 1),
					count(*) FILTER (WHERE next_attempt_at - created_at = interval '1 minute')
					FROM (SELECT *, row_number() OVER (ORDER BY id) AS nth FROM outbox WHERE queue = $1) AS o`, name).
					Scan(&count, &inOrder, &late))
				is.Equal(count, n)
				is.Equal(inOrder, n) // the i-th id holds the i-th value
				is.Equal(late, n)
			}
		})
	}
}

func TestPublish_SeveralQueuesInOneStatement(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders, notes := typed.NewQueue[order]("orders"), typed.NewQueue[string]("no\\tes, \"quoted\"")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		ids, err := queue.Publish(t.Context(), tx,
			orders.Draft(order{ID: 1}), notes.Draft("a", queue.Delay(time.Hour)), orders.Draft(order{ID: 2}))
		is.Equal(len(ids), 3)
		return err
	})
	is.Equal(rows(t, db.Pool, "outbox"), 3)
	eventually(t, db.Pool, 1, `SELECT count(*)::int FROM outbox WHERE queue = $1 AND next_attempt_at > now()`, notes.Name())
}

func TestPublish_InTwoOutboxesOnAutocommitIsAllOrNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	away := typed.NewQueue[order]("away").In(queue.Outbox{Table: "missing"})
	_, err := queue.Publish(t.Context(), queue.Autocommit(db.Pool), orders.Draft(order{ID: 1}), away.Draft(order{ID: 2}))
	is.True(errors.Is(err, queue.ErrNoTable))
	is.Equal(rows(t, db.Pool, "outbox"), 0)

	away = away.In(queue.Outbox{Table: "second"})
	is.NoErr(queue.Outbox{Table: "second"}.Create(t.Context(), db.Pool))
	ids, err := queue.Publish(t.Context(), queue.Autocommit(db.Pool), orders.Draft(order{ID: 1}), away.Draft(order{ID: 2}))
	is.NoErr(err)
	is.Equal(len(ids), 2)
	is.Equal(rows(t, db.Pool, "outbox"), 1)
	is.Equal(rows(t, db.Pool, "second"), 1)
}

// counter counts the round trips of a transaction.
type counter struct {
	queue.Tx
	trips int
}

func (c *counter) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	c.trips++
	return c.Tx.QueryRow(ctx, sql, args...)
}

func TestPublish_OneRoundTripAndOneNotification(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders").In(queue.Outbox{Notify: queue.NotifyAlways})

	conn, err := db.Pool.Acquire(t.Context())
	is.NoErr(err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), "LISTEN outbox_outbox")
	is.NoErr(err)

	commit(t, db.Pool, func(tx pgx.Tx) error {
		c := &counter{Tx: tx}
		for i := range 3 {
			_, err := orders.Publish(t.Context(), c, order{ID: i})
			is.NoErr(err)
			is.Equal(c.trips, i+1) // notification included
		}
		_, err := orders.PublishBatch(t.Context(), c, make([]order, 1000))
		is.Equal(c.trips, 4)
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := conn.Conn().WaitForNotification(ctx)
	is.NoErr(err)
	is.Equal(n.Payload, "orders")
	// No other is waiting: this one comes next.
	_, err = db.Pool.Exec(t.Context(), "SELECT pg_notify('outbox_outbox', 'end')")
	is.NoErr(err)
	n, err = conn.Conn().WaitForNotification(ctx)
	is.NoErr(err)
	is.Equal(n.Payload, "end")
}

func TestPublish_WithInsertPrivilegeOnly(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := db.Pool.Exec(t.Context(), `
		DO $$ BEGIN CREATE ROLE letterbox_publisher; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
		GRANT INSERT, SELECT (id, queue) ON outbox TO letterbox_publisher`, pgx.QueryExecModeSimpleProtocol)
	is.NoErr(err)
	orders := typed.NewQueue[order]("orders")
	for _, n := range []int{1, 10, 3_000} {
		commit(t, db.Pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE letterbox_publisher"); err != nil {
				return err
			}
			ids, err := orders.PublishBatch(t.Context(), tx, make([]order, n))
			is.Equal(len(ids), n)
			return err
		})
	}
	err = pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "REVOKE ALL ON outbox FROM letterbox_publisher; SET LOCAL ROLE letterbox_publisher", pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err := orders.Publish(t.Context(), tx, order{})
		return err
	})
	is.True(strings.Contains(err.Error(), "needs INSERT and SELECT"))
}
