package readme

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
)

// BookParcel writes, publishes and acknowledges in one commit.
func BookParcel(ctx context.Context, tx pgx.Tx, o OrderPlaced) error {
	if _, err := tx.Exec(ctx, "INSERT INTO parcels (order_id) VALUES ($1)", o.ID); err != nil {
		return err
	}
	_, err := Packed.Publish(ctx, tx, Parcel{Order: o.ID})
	return err
}

// BookParcels does it for many at once, and says what became of each.
func BookParcels(ctx context.Context, tx pgx.Tx, batch []*typed.Message[OrderPlaced]) []error {
	outcomes := make([]error, len(batch)) // nil: done
	for i, m := range batch {
		outcomes[i] = BookParcel(ctx, tx, m.Value)
	}
	return outcomes
}

// Errors of the world around.
var (
	ErrUnknownCustomer = errors.New("unknown customer")
	ErrClosed          = errors.New("the warehouse is closed")
)

// Decide says more than "try again".
func Decide(ctx context.Context, o OrderPlaced) error {
	switch {
	case o.ID < 0:
		return queue.Discard("a test order")
	case o.ID == 0:
		return queue.Permanent(ErrUnknownCustomer) // becomes a dead letter
	case time.Now().Weekday() == time.Sunday:
		return queue.RetryAfter(ErrClosed, 12*time.Hour)
	case time.Now().Hour() < 6:
		return queue.Snooze(time.Hour) // not a failure: no attempt is counted
	}
	return nil
}

// Forms are the four forms of handlers.
func Forms() []queue.Subscription {
	return []queue.Subscription{
		Placed.Handle(Decide),                                   // at least once
		Placed.HandleTx(BookParcel),                             // exactly once in effect
		Placed.HandleBatch(Inform, queue.BatchSize(50)),         // at least once, many at a time
		Placed.HandleBatchTx(BookParcels, queue.BatchSize(500)), // exactly once in effect, many at a time
	}
}

// Inform is a handler of batches.
func Inform(ctx context.Context, batch []*typed.Message[OrderPlaced]) []error {
	return make([]error, len(batch))
}

// Patient retries by the kind of error.
var Patient = queue.Retry(retry.ByError(
	retry.Exponential{First: time.Second, MaxDelay: 5 * time.Minute, Jitter: 0.2, MaxAttempts: 10},
	retry.Is(ErrUnknownCustomer, retry.Never{}),
	retry.Is(ErrClosed, retry.Constant{Delay: time.Hour, MaxAttempts: retry.Unlimited, MaxElapsed: 7 * 24 * time.Hour}),
))
