// Quickstart is Letterbox's tutorial as a program: it publishes an order, handles it on the other side, and says at each
// step what happened. It needs no setup and ends by itself:
//
//	go run ./examples/quickstart
//
// Read this file from top to bottom. What finds or starts a PostgreSQL is in postgres.go, and is no part of the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// OrderPlaced is a message: any type that encodes as JSON will do.
type OrderPlaced struct {
	ID int `json:"id"`
}

// Placed is the queue: a name and a type. It holds no connection, so it can be a package variable.
var Placed = typed.NewQueue[OrderPlaced]("orders.placed")

func tutorial(ctx context.Context, pool *pgxpool.Pool) error {
	// The tables. A service would leave this to its migrations: queue.Outbox{}.SQL returns the statements.
	if err := (queue.Outbox{}).Create(ctx, pool); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "CREATE TABLE orders (id int PRIMARY KEY)"); err != nil {
		return err
	}
	fmt.Println("1. created the tables: orders, and outbox for the messages")

	// Order 1: the commit is the send.
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		return placeOrder(ctx, tx, 1)
	})
	if err != nil {
		return err
	}
	fmt.Println("2. committed order 1 and its message")

	// Order 2: the transaction fails after the publish, so there is nothing to send.
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := placeOrder(ctx, tx, 2); err != nil {
			return err
		}
		return errPaymentRefused // makes BeginFunc roll back
	})
	if !errors.Is(err, errPaymentRefused) {
		return err
	}
	fmt.Println("3. rolled back order 2 and its message")
	if err := showRows(ctx, pool); err != nil {
		return err
	}

	// The other side, here in the same process.
	fmt.Println("4. starting a worker")
	if err := handleOne(ctx, pool); err != nil {
		return err
	}
	fmt.Println("5. the worker has drained and stopped")
	return showRows(ctx, pool)
}

var errPaymentRefused = errors.New("payment refused")

// placeOrder writes an order and the message about it in one transaction: either both exist in the end, or neither.
func placeOrder(ctx context.Context, tx pgx.Tx, id int) error {
	if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", id); err != nil {
		return err
	}
	_, err := Placed.Publish(ctx, tx, OrderPlaced{ID: id})
	return err
}

// handleOne runs a worker until it has handled one message. A service would run it until a signal comes.
func handleOne(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	worker, err := queue.NewWorker(pool, Placed.Handle(func(_ context.Context, order OrderPlaced) error {
		fmt.Println("got order", order.ID)
		stop()
		return nil // acknowledges: the message's row is deleted
	}))
	if err != nil {
		return err
	}
	return worker.Run(ctx) // until ctx ends; then it drains
}

// showRows says what is in the tables.
func showRows(ctx context.Context, pool *pgxpool.Pool) error {
	var orders, messages int
	const sql = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM outbox)"
	if err := pool.QueryRow(ctx, sql).Scan(&orders, &messages); err != nil {
		return err
	}
	fmt.Printf("   rows now: %d in orders, %d in outbox\n", orders, messages)
	return nil
}

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn) // a worker logs its start and stop, too; here they would only be in the way
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pool, closeAll, err := openDatabase(ctx)
	if err == nil {
		err = errors.Join(tutorial(ctx, pool), closeAll())
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err) // the cause names the signal
	}
	return err
}
