package retry

import (
	"errors"
	"fmt"
)

// Errors of [Resolve], which come wrapped with the queue, the message and the
// type of the policy. With each of them Resolve has returned a decision that
// can be carried out; the error is there to be logged.
var (
	// ErrNilPolicy is returned where there is no policy, by [Validate] too.
	ErrNilPolicy = errors.New("the policy is nil")
	// ErrNoDecision is returned where a policy made no decision: it returned
	// the zero [Decision], or is one of this package's with settings that
	// [Validate] refuses.
	ErrNoDecision = errors.New("the policy made no decision")
	// ErrNegativeDelay is returned where a policy asked for a delay below zero.
	ErrNegativeDelay = errors.New("the policy asked for a negative delay")
	// ErrHotLoop is returned where a policy asked for a delay of less than a
	// millisecond after more than 1,000 attempts.
	ErrHotLoop = errors.New("the policy retries in a hot loop")
)

// PanicError is a panic of a policy as an error, from [Resolve] or [Validate].
type PanicError struct {
	// Value is what the policy panicked with.
	Value any
	// Stack is the stack of the goroutine at the panic.
	Stack []byte
}

// Error gives the value, without the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("the policy panicked: %v", e.Value)
}

// Unwrap gives the value where it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
