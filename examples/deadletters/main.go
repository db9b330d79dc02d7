// Deadletters shows what becomes of messages that cannot be handled: a handler gives some up, and they are looked at,
// mended and given back. It needs no setup and ends by itself:
//
//	go run ./examples/deadletters
//
// Read this file from top to bottom. What finds or starts a PostgreSQL is in postgres.go, and is no part of the story.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// OrderPlaced is the message. Currency came later: old publishers leave it out.
type OrderPlaced struct {
	ID       int    `json:"id"`
	Cents    int    `json:"cents"`
	Currency string `json:"currency"`
}

// Placed is the queue, and letters are the messages of it that failed for good.
var (
	Placed  = typed.NewQueue[OrderPlaced]("orders.placed")
	letters = Placed.DeadLetters()
)

var errNoCurrency = errors.New("the order has no currency")

// bill is the handler. Trying again would not give an order its currency, and Permanent says so: the message becomes a
// dead letter at once, instead of after ten attempts.
func bill(_ context.Context, o OrderPlaced) error {
	if o.Currency == "" {
		fmt.Printf("   order %d: refused\n", o.ID)
		return queue.Permanent(errNoCurrency)
	}
	fmt.Printf("   order %d: billed %d.%02d %s\n", o.ID, o.Cents/100, o.Cents%100, o.Currency)
	return nil
}

func story(ctx context.Context, pool *pgxpool.Pool) error {
	if err := (queue.Outbox{}).Create(ctx, pool); err != nil {
		return err
	}
	if err := publish(ctx, pool); err != nil {
		return err
	}
	fmt.Println("1. published three orders: one is in order, one has no currency, one is no JSON")

	fmt.Println("2. a worker handles them")
	if err := work(ctx, pool); err != nil {
		return err
	}

	fmt.Println("3. looking at what was left")
	broken, err := look(ctx, pool)
	if err != nil {
		return err
	}

	fmt.Println("4. giving them back with a currency")
	done, err := letters.ReplayAll(ctx, pool, dlq.Filter{}, letters.Fix(func(o OrderPlaced) (OrderPlaced, error) {
		if o.Currency == "" {
			o.Currency = "EUR"
		}
		return o, nil
	}))
	if err != nil {
		return err
	}
	report(done)

	fmt.Println("5. giving the other back with its bytes mended")
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { // in a transaction of ours, this time
		done, err := letters.Replay(ctx, tx, broken, dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
			return dlq.Fixed{Payload: bytes.ReplaceAll(l.Payload, []byte("'"), []byte(`"`))}, nil
		}))
		report(done)
		return err
	})
	if err != nil {
		return err
	}

	fmt.Println("6. a worker handles them")
	if err := work(ctx, pool); err != nil {
		return err
	}
	_, err = look(ctx, pool)
	return err
}

// publish plays three publishers, of which only the first is up to date.
func publish(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := queue.Publish(ctx, queue.Autocommit(pool),
		Placed.Draft(OrderPlaced{ID: 1, Cents: 1250, Currency: "EUR"}),
		Placed.Draft(OrderPlaced{ID: 2, Cents: 990}),
		Placed.Bytes().Draft([]byte(`{'id': 3, 'cents': 500, 'currency': 'USD'}`), queue.ContentType("application/json")))
	return err
}

// work runs a worker until the queue is empty. A service would run it until a signal comes.
func work(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	worker, err := queue.NewWorker(pool, Placed.Handle(bill, queue.Concurrency(1)))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	empty := waitUntilEmpty(ctx, pool)
	stop()
	return errors.Join(empty, <-ended)
}

func waitUntilEmpty(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		var left int
		if err := pool.QueryRow(ctx, "SELECT count(*) FROM outbox").Scan(&left); err != nil || left == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// look says how many dead letters there are, and which. It returns the ids of those that do not decode.
func look(ctx context.Context, pool *pgxpool.Pool) (broken []int64, err error) {
	counts, err := letters.Count(ctx, pool, dlq.Filter{})
	if err != nil {
		return nil, err
	}
	if len(counts) == 0 {
		fmt.Println("   no dead letters")
	}
	for _, c := range counts {
		fmt.Printf("   %d of %s, because of %s\n", c.Letters, c.Queue, c.Reason)
		list, err := letters.List(ctx, pool, dlq.Filter{Reason: c.Reason}, dlq.Page{})
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			if l.Err != nil {
				fmt.Printf("      letter %d cannot be read: %v\n", l.ID, l.Err)
				broken = append(broken, l.ID)
				continue
			}
			fmt.Printf("      letter %d is order %d, which failed with %q\n", l.ID, l.Value.ID, l.Error)
		}
	}
	return broken, nil
}

func report(done dlq.Replayed) {
	for _, m := range done.Moves {
		fmt.Printf("   letter %d is message %d\n", m.Letter, m.Message)
	}
	for _, s := range done.Skips {
		fmt.Printf("   letter %d stays: %v\n", s.Letter, s.Err)
	}
}

func main() {
	// A worker warns of each message that becomes a dead letter; here the story tells of them.
	slog.SetLogLoggerLevel(slog.LevelError)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "deadletters:", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pool, closeAll, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	return errors.Join(story(ctx, pool), closeAll())
}
