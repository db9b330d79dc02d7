package retry

import (
	"errors"
	"time"
)

// Failure is what a policy may look at: one failed attempt to handle a message.
type Failure struct {
	// Queue is the name of the queue, and ID the id of the message's row in
	// the outbox.
	Queue string
	ID    int64
	// Attempt counts the failed attempts, this one included: 1 for the first
	// failure. Less than 1 is taken as 1.
	Attempt int64
	// Elapsed is the time from the beginning of the first attempt to this
	// failure. Negative is taken as zero.
	Elapsed time.Duration
	// Err is what the handler returned, or its panic as an error.
	Err error
}

// Policy decides what follows a failure.
//
// A policy is pure. Decide reads its receiver and its argument, and nothing
// else: no clock, no I/O, no state that changes. It is called from many
// goroutines at once, and a caller may ask twice about the same failure and
// expect the same answer.
//
// Decide should not panic. If it does, or returns the zero [Decision] or a
// negative delay, [Resolve] applies [Default] to that failure instead.
//
// A policy may also have a method Validate() error. [Validate] calls it when a
// worker is built, so that a mistake is reported before any message fails, and
// [Resolve] to explain a decision that was not made.
type Policy interface {
	Decide(f Failure) Decision
}

// Func makes a [Policy] of a function, which has to be pure as Policy says.
type Func func(Failure) Decision

// Decide calls the function. A nil Func makes no decision.
func (p Func) Decide(f Failure) Decision {
	if p == nil {
		return Decision{}
	}
	return p(f)
}

// Validate refuses a nil Func.
func (p Func) Validate() error {
	if p == nil {
		return errors.New("retry.Func is nil")
	}
	return nil
}

// Never gives up at the first failure: a message is handled at most once
// without success.
type Never struct{}

// Decide gives up.
func (Never) Decide(Failure) Decision { return GiveUp() }
