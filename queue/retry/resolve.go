package retry

import (
	"fmt"
	"runtime/debug"
)

// Resolve asks a policy about a failure and always returns a decision that can
// be carried out. It is what a worker calls; it never panics and is safe for
// concurrent use.
//
// Where the policy is nil, panics, makes no decision or asks for a negative
// delay, the decision is that of [Default] for the same failure: a delay of at
// least 0.8 s, or to give up from the tenth attempt on. The error says what was
// wrong, and is meant for the log.
//
// A delay of zero is allowed: it means at once. The loop that a policy can make
// of it is bounded all the same. A policy of this package either ends within
// 1,000 attempts or keeps delays of a millisecond and more, see [Validate]; any
// other one that asks for less than a millisecond after more than 1,000 attempts
// gets 5 minutes instead, with [ErrHotLoop].
func Resolve(p Policy, f Failure) (Decision, error) {
	d, err := ask(p, f)
	if err == nil {
		err = judge(p, d)
	}
	if err != nil {
		return Default().Decide(f), describe(p, f, err)
	}
	if d.verdict == again && d.delay < shortest && f.Attempt > hotAttempts {
		return After(defaultMaxDelay), describe(p, f, ErrHotLoop)
	}
	return d, nil
}

// ask calls the policy and turns a panic into an error.
func ask(p Policy, f Failure) (d Decision, err error) {
	if p == nil {
		return Decision{}, ErrNilPolicy
	}
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return p.Decide(f), nil
}

// judge says what is wrong with a decision, and why where the policy tells.
func judge(p Policy, d Decision) error {
	switch {
	case d.verdict == undecided:
		if why := Validate(p); why != nil {
			return fmt.Errorf("%w: %w", ErrNoDecision, why)
		}
		return ErrNoDecision
	case d.verdict == again && d.delay < 0:
		return fmt.Errorf("%w, %v", ErrNegativeDelay, d.delay)
	}
	return nil
}

func describe(p Policy, f Failure, err error) error {
	return fmt.Errorf("retry: decide on message %d of %q after attempt %d by %T: %w", f.ID, f.Queue, f.Attempt, p, err)
}
