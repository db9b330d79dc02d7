package typed_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
)

// OrderPlaced is what the examples are about.
type OrderPlaced struct {
	ID       int
	Customer string
}

// A domain package declares its queues like this. They hold no connection.
var (
	Placed   = typed.NewQueue[OrderPlaced]("orders.placed")
	Receipts = typed.NewQueue("orders.receipts", codec.MsgPack[OrderPlaced]())
)

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

	// The commit is the send.
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// ... domain writes on tx ...
		_, err := Placed.Publish(ctx, tx, OrderPlaced{ID: 1, Customer: "c-1"})
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	worker, err := queue.NewWorker(pool,
		queue.Logger(discard),
		Placed.Handle(func(_ context.Context, o OrderPlaced) error {
			fmt.Println("got order", o.ID, "of", o.Customer)
			stop() // this example has seen enough
			return nil
		}, queue.Concurrency(16), queue.Retry(retry.Default())),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("stopped:", worker.Run(ctx)) // until ctx ends; then drains
	// Output:
	// got order 1 of c-1
	// stopped: <nil>
}

func ExampleQueue_PublishBatch() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		ids, err := Placed.PublishBatch(ctx, tx, []OrderPlaced{{ID: 1}, {ID: 2}, {ID: 3}},
			queue.Delay(time.Minute), queue.Headers(map[string]string{"tenant": "t-1"}))
		fmt.Println(len(ids), "messages, ids in order:", ids[0] < ids[1] && ids[1] < ids[2])
		return err
	})
	fmt.Println(err)
	// Output:
	// 3 messages, ids in order: true
	// <nil>
}

// Messages of several queues, each with options of its own, go out in one round
// trip.
func ExampleQueue_Draft() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		ids, err := queue.Publish(ctx, tx,
			Placed.Draft(OrderPlaced{ID: 1}),
			Receipts.Draft(OrderPlaced{ID: 1}, queue.Delay(time.Hour)))
		fmt.Println(len(ids), "messages")
		return err
	})
	fmt.Println(err)
	// Output:
	// 2 messages
	// <nil>
}

// What the handler writes, what it publishes, and the end of the message are one
// commit.
func ExampleQueue_HandleTx() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()
	if _, err := Placed.Publish(ctx, queue.Autocommit(pool), OrderPlaced{ID: 1}); err != nil {
		fmt.Println(err)
		return
	}

	worker, err := queue.NewWorker(pool,
		queue.Logger(discard),
		Placed.HandleTx(func(ctx context.Context, tx pgx.Tx, o OrderPlaced) error {
			// ... writes on tx ...
			_, err := Receipts.Publish(ctx, tx, o)
			return err
		}),
		Receipts.Handle(func(_ context.Context, o OrderPlaced) error {
			fmt.Println("receipt for order", o.ID)
			stop()
			return nil
		}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(worker.Run(ctx))
	// Output:
	// receipt for order 1
	// <nil>
}

// A batch handler says what became of each message.
func ExampleQueue_HandleBatch() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()
	if _, err := Placed.PublishBatch(ctx, queue.Autocommit(pool), []OrderPlaced{{ID: 1}, {ID: 2}, {ID: 3}}); err != nil {
		fmt.Println(err)
		return
	}

	worker, err := queue.NewWorker(pool,
		queue.Logger(discard),
		Placed.HandleBatch(func(_ context.Context, batch []*typed.Message[OrderPlaced]) []error {
			outcomes := make([]error, len(batch)) // nil: done
			for i, m := range batch {
				if m.Value.ID == 2 {
					outcomes[i] = queue.RetryAfter(errors.New("warehouse is closed"), time.Hour)
				}
			}
			fmt.Println("handled", len(batch))
			stop()
			return outcomes
		}, queue.BatchSize(100)),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(worker.Run(ctx))
	// Output:
	// handled 3
	// <nil>
}

// The whole message has the envelope and the verdicts.
func ExampleQueue_HandleMessage() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()
	if _, err := Placed.Publish(ctx, queue.Autocommit(pool), OrderPlaced{ID: 1}, queue.CorrelationID("c-1")); err != nil {
		fmt.Println(err)
		return
	}

	worker, err := queue.NewWorker(pool,
		queue.Logger(discard),
		Placed.HandleMessage(func(_ context.Context, m *typed.Message[OrderPlaced]) error {
			fmt.Println("attempt", m.Attempt, "of order", m.Value.ID, "in story", m.CorrelationID())
			stop()
			return m.Reject("no such customer")
		}),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(worker.Run(ctx))
	// Output:
	// attempt 1 of order 1 in story c-1
	// <nil>
}

// A retry policy can look at the message.
func ExampleQueue_Retry() {
	patient := Placed.Retry(func(m *typed.Message[OrderPlaced], f retry.Failure) retry.Decision {
		if m.Value.Customer == "c-1" {
			return retry.Exponential{First: time.Minute, MaxAttempts: retry.Unlimited}.Decide(f)
		}
		return retry.Default().Decide(f)
	})
	handler := func(context.Context, OrderPlaced) error { return nil }
	_ = Placed.Handle(handler, patient) // for queue.NewWorker
}
