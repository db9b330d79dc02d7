package queue

import (
	"errors"
	"fmt"
	"time"
)

// Permanent marks an error that no retry can help: the message becomes a dead
// letter at once, with the reason "retry_terminal". Permanent(nil) is nil. The
// error stays within reach of errors.Is and errors.As.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// RetryAfter says when to try again: after d, by the database's clock, instead
// of the delay that the retry policy has in mind. The policy still decides
// whether to try again at all, and the attempt counts. Below zero is zero, and
// above [MaxDelay] is MaxDelay. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, bounded(d)}
}

// Snooze puts the message off for d, by the database's clock. That is no
// failure: attempts and deliveries stay as they were. Below zero is zero, and
// above [MaxDelay] is MaxDelay.
func Snooze(d time.Duration) error { return &snoozeError{bounded(d)} }

// Discard ends the message without a dead letter, though it was not handled; the
// reason is logged.
func Discard(reason string) error { return &discardError{reason} }

// IsFailure reports whether what a handler returned is a failed attempt: an error,
// but none of [Snooze] and [Discard]. It is for middleware.
func IsFailure(err error) bool {
	var (
		snooze  *snoozeError
		discard *discardError
	)
	return err != nil && !errors.As(err, &snooze) && !errors.As(err, &discard)
}

// Undecodable says that the payload cannot be read: the message becomes a dead
// letter with the reason "decode_error" and its bytes intact, for another
// attempt would read the same bytes. Typed queues return it where the codec
// fails. Undecodable(nil) is nil.
func Undecodable(err error) error {
	if err == nil {
		return nil
	}
	return &undecodableError{err}
}

// ErrNotSettled is the failure of a message whose handler returned without
// calling Ack, Nack or Reject though its [AckPolicy] is [Manual].
var ErrNotSettled = errors.New("handler returned without ack, nack or reject")

// ErrSettled is returned by Ack, Nack and Reject when one of them has been
// called before; the first call holds.
var ErrSettled = errors.New("message is already settled")

// errNacked is the failure of a message whose handler called Nack and returned
// nothing.
var errNacked = errors.New("nack")

// DeliveriesError is the failure of a message that was claimed more often than
// [MaxDeliveries] allows: again and again its worker died with it.
type DeliveriesError struct{ Deliveries, Limit int64 }

func (e *DeliveriesError) Error() string {
	return fmt.Sprintf("claimed %d times, the limit is %d: workers keep ending while they handle it", e.Deliveries, e.Limit)
}

type (
	permanentError  struct{ error }
	retryAfterError struct {
		error
		delay time.Duration
	}
	undecodableError struct{ error }
	snoozeError      struct{ delay time.Duration }
	discardError     struct{ reason string }
)

func (e *permanentError) Unwrap() error   { return e.error }
func (e *retryAfterError) Unwrap() error  { return e.error }
func (e *undecodableError) Unwrap() error { return e.error }
func (e *snoozeError) Error() string      { return fmt.Sprintf("snooze for %v", e.delay) }
func (e *discardError) Error() string     { return "discard: " + e.reason }

// PanicError is the failure of a handler that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n\n%s", e.Value, e.Stack) }

// Unwrap gives the panic's value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func bounded(d time.Duration) time.Duration { return min(max(0, d), MaxDelay) }
