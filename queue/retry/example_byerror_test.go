package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue/retry"
)

var ErrNoSuchAccount = errors.New("no such account")

// HTTPError is what a client of some service returns.
type HTTPError struct{ Status int }

func (e *HTTPError) Error() string { return fmt.Sprintf("status %d", e.Status) }

// Errors that cannot pass give up at once, a busy service is left alone for a
// minute, and the rest is retried as usual.
func ExampleByError() {
	policy := retry.ByError(
		retry.Exponential{First: 2 * time.Second},
		retry.Is(ErrNoSuchAccount, retry.Never{}),
		retry.When(func(e *HTTPError) bool { return e.Status == 429 }, retry.Constant{Delay: time.Minute}),
		retry.As[*HTTPError](retry.Constant{Delay: 10 * time.Second, MaxAttempts: 3}),
	)
	if err := retry.Validate(policy); err != nil {
		fmt.Println(err)
		return
	}
	for _, err := range []error{
		fmt.Errorf("charge: %w", ErrNoSuchAccount),
		fmt.Errorf("charge: %w", &HTTPError{Status: 429}),
		fmt.Errorf("charge: %w", &HTTPError{Status: 503}),
		context.DeadlineExceeded,
	} {
		fmt.Printf("%v: %v\n", err, policy.Decide(retry.Failure{ID: 1, Attempt: 1, Err: err}))
	}
	// Output:
	// charge: no such account: give up
	// charge: status 429: retry after 1m0s
	// charge: status 503: retry after 10s
	// context deadline exceeded: retry after 2s
}
