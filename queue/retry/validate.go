package retry

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// Validate reports what can be seen to be wrong with a policy before it is
// used: all problems, joined, or nil. Constructors that are given a policy call
// it. It never panics.
//
// It refuses a nil policy and a nil [Func]; a delay or a limit below zero, and a
// delay above [Ceiling]; a first delay above MaxDelay; a Factor that is below 1,
// infinite or not a number (zero is the default); a Jitter outside 0 to 1; a
// MaxAttempts below zero that is not [Unlimited]; a hot loop, which is more than
// 1,000 attempts at delays under a millisecond; and in [ByError] an empty rule,
// a nil target or condition, or a part that is refused itself.
//
// A limit of no attempts at all cannot be written, because a policy is asked
// after an attempt: MaxAttempts 0 is the default of 10, and both [Never] and
// MaxAttempts 1 end at the first failure.
//
// A policy of another type is asked by its method Validate() error, if it has
// one.
func Validate(p Policy) (err error) {
	if p == nil {
		return ErrNilPolicy
	}
	v, ok := p.(interface{ Validate() error })
	if !ok {
		return nil
	}
	// A nil pointer in the interface panics here, as it would in Decide.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("validate %T: %w", p, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	return v.Validate()
}

// join is errors.Join without a layer around a single error.
func join(a, b error) error {
	if a == nil {
		return b
	}
	return errors.Join(a, b)
}
