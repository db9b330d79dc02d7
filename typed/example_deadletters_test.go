package typed_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
)

// Orders without a customer have failed. They are looked at, given one, and
// delivered again.
func ExampleQueue_DeadLetters() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()
	letters := Placed.DeadLetters()

	errNoCustomer := errors.New("no customer")
	ended := make(chan error, 1)
	worker, err := queue.NewWorker(pool, queue.Logger(discard),
		Placed.Handle(func(_ context.Context, o OrderPlaced) error {
			if o.Customer == "" {
				return queue.Permanent(errNoCustomer)
			}
			fmt.Println("handled order", o.ID, "of", o.Customer)
			stop()
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { ended <- worker.Run(ctx) }()
	if _, err := Placed.Publish(ctx, queue.Autocommit(pool), OrderPlaced{ID: 7}); err != nil {
		fmt.Println(err)
		return
	}

	for {
		list, err := letters.List(ctx, pool, dlq.Filter{}, dlq.Page{})
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, l := range list {
			if l.Err != nil {
				fmt.Println("does not decode:", l.Err)
				continue
			}
			fmt.Println("order", l.Value.ID, "failed:", l.Error)
		}
		if len(list) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	replayed, err := letters.ReplayAll(ctx, pool, dlq.Filter{}, letters.Fix(func(o OrderPlaced) (OrderPlaced, error) {
		o.Customer = cmp.Or(o.Customer, "nobody")
		return o, nil
	}))
	fmt.Println("moved:", replayed.Moved, err)
	fmt.Println("stopped:", <-ended)
	// Unordered output:
	// order 7 failed: no customer
	// moved: 1 <nil>
	// handled order 7 of nobody
	// stopped: <nil>
}
