package queue_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx" of database/sql

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

var orders = queue.New("orders")

// openOutbox gives an example a database with an empty outbox in it.
func openOutbox(ctx context.Context) (*pgxpool.Pool, func()) {
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		return nil, func() { fmt.Println(err) }
	}
	return pgtest.Open(ctx, sql)
}

func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(ctx, tx, []byte("order 1"))
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := queue.NewWorker(pool, queue.Logger(slog.New(slog.DiscardHandler)),
		orders.Handle(func(_ context.Context, d *queue.Delivery) error {
			fmt.Printf("got %s, attempt %d\n", d.Payload, d.Attempt)
			stop()
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Run(ctx))
	// Output:
	// got order 1, attempt 1
	// <nil>
}

// A transaction of database/sql, and so of what is built on it, will do.
func ExampleSQL() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()
	db, err := sql.Open("pgx", pool.Config().ConnString())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tx.Rollback()
	// ... domain writes on tx ...
	if _, err := orders.Publish(ctx, queue.SQL(tx), []byte("order 1")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tx.Commit())
	// Output: <nil>
}

func ExampleOutbox() {
	outbox := queue.Outbox{Schema: "app", Table: "events"}
	_, err := outbox.SQL() // for a migration tool; or outbox.Create(ctx, pool)
	fmt.Println(err)
	_ = queue.New("orders").In(outbox)
	// Output: <nil>
}

// Middleware stands around a handler.
func ExampleMiddleware() {
	timing := func(next queue.Handler) queue.Handler {
		return func(ctx context.Context, d *queue.Delivery) error {
			began := time.Now()
			err := next(ctx, d)
			slog.InfoContext(ctx, "handled", "queue", d.Queue, "message_id", d.ID, "took", time.Since(began), "error", err)
			return err
		}
	}
	_ = orders.Handle(func(context.Context, *queue.Delivery) error { return nil }, queue.Use(timing))
}
