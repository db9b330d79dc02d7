package retry_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// A policy as a function: it honours the time that a service asked for, and
// leaves the rest to another policy, limits included.
func ExampleFunc() {
	usual := retry.Linear{First: time.Second, Step: time.Second, MaxAttempts: 4}
	policy := retry.Func(func(f retry.Failure) retry.Decision {
		decision := usual.Decide(f)
		if _, again := decision.Delay(); !again {
			return decision
		}
		if busy, ok := errors.AsType[*BusyError](f.Err); ok {
			return retry.After(busy.RetryAfter)
		}
		return decision
	})

	busy := &BusyError{RetryAfter: 90 * time.Second}
	fmt.Println(policy.Decide(retry.Failure{ID: 1, Attempt: 2, Err: errors.New("broken pipe")}))
	fmt.Println(policy.Decide(retry.Failure{ID: 1, Attempt: 3, Err: busy}))
	fmt.Println(policy.Decide(retry.Failure{ID: 1, Attempt: 4, Err: busy}))
	// Output:
	// retry after 2s
	// retry after 1m30s
	// give up
}

// BusyError is what a service says when it is asked too often.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string { return "busy" }
