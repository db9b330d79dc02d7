package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// letterbox is the library, as a user has it: typed queues, JSON, a worker with its default settings apart from what the
// command line names.
type letterbox struct{}

var orders = typed.NewQueue[order]("orders")

func (letterbox) setup(ctx context.Context, db *database) error {
	return queue.Outbox{}.Create(ctx, db.pool)
}

// publish makes a message that is due later a timer.
func (letterbox) publish(ctx context.Context, tx pgx.Tx, number int, due time.Time) (err error) {
	if due.IsZero() {
		_, err = orders.Publish(ctx, tx, newOrder(number))
	} else {
		_, err = orders.Schedule(ctx, tx, fmt.Sprintf("order-%d", number), due, newOrder(number))
	}
	return err
}

func (letterbox) fill(ctx context.Context, tx pgx.Tx, numbers span, due time.Time) error {
	values := make([]order, numbers.len())
	for i := range values {
		values[i] = newOrder(numbers.first + i)
	}
	var options []queue.PublishOption
	if !due.IsZero() {
		options = append(options, queue.Delay(max(0, time.Until(due))))
	}
	_, err := orders.PublishBatch(ctx, tx, values, options...)
	return err
}

func (letterbox) expire(ctx context.Context, db *database, n int) error {
	return expireOutbox(ctx, db, n)
}

func (letterbox) work(ctx context.Context, w worker) error {
	options := []queue.WorkerOption{queue.Logger(w.log), subscription(w)}
	for i := 1; i < w.queues; i++ {
		q := typed.NewQueue[order](fmt.Sprintf("orders.%d", i))
		options = append(options, q.Handle(func(context.Context, order) error { return nil }, queue.Concurrency(1)))
	}
	worker, err := queue.NewWorker(w.pool, options...)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

func subscription(w worker) queue.Subscription {
	all := func(batch []*typed.Message[order]) []error {
		for _, m := range batch {
			w.handle(m.Value.Number)
		}
		return make([]error, len(batch))
	}
	switch w.form {
	case batched:
		return orders.HandleBatch(func(_ context.Context, batch []*typed.Message[order]) []error {
			return all(batch)
		}, queue.BatchSize(w.batch))
	case batchedTx:
		return orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*typed.Message[order]) []error {
			return all(batch)
		}, queue.BatchSize(w.batch))
	default:
		return orders.Handle(func(_ context.Context, o order) error {
			w.handle(o.Number)
			return nil
		}, queue.Concurrency(w.concurrency))
	}
}

func (letterbox) left(ctx context.Context, db *database) (int, error) { return leftInOutbox(ctx, db) }
