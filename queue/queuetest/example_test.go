package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
)

// inExample stands where a test has its t.
type inExample struct{ testing.TB }

func (inExample) Helper()                  {}
func (inExample) Context() context.Context { return context.Background() }
func (inExample) Output() io.Writer        { return io.Discard }

func Example() {
	var t inExample // a test has its own
	welcome := queue.New("mails.welcome")
	// The code under test publishes in the transaction that it is given.
	register := func(ctx context.Context, tx pgx.Tx, name string) error {
		_, err := welcome.Publish(ctx, tx, []byte(name), queue.Delay(time.Hour))
		return err
	}

	box := queuetest.New(t)
	box.Deliver(welcome.Handle(func(_ context.Context, d *queue.Delivery) error {
		fmt.Printf("welcome, %s (attempt %d)\n", d.Payload, d.Attempt)
		if d.Attempt == 1 {
			return errors.New("the mail server is away")
		}
		return nil
	}))
	err := pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
		return register(t.Context(), tx, "Ada")
	})
	fmt.Println(err, len(queuetest.Scheduled(t, box, welcome)))

	box.Advance(time.Hour)
	fmt.Println("a minute later")
	box.Advance(time.Minute)
	fmt.Println(len(queuetest.Messages(t, box, welcome)))
	// Output:
	// <nil> 1
	// welcome, Ada (attempt 1)
	// a minute later
	// welcome, Ada (attempt 2)
	// 0
}
