package timers

import (
	"context"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Option changes how a timer is rescheduled. What a message can have,
// [queue.Headers] and [queue.CorrelationID], are options too.
type Option interface{ ApplyTimer(*store.TimerRules) }

type option func(*store.TimerRules)

func (o option) ApplyTimer(r *store.TimerRules) { o(r) }

// Which is one of the two due times of a timer that is rescheduled.
type Which uint8

const (
	// New: the due time of the call holds.
	New Which = iota
	// Earliest: the earlier one of the call's and the timer's own.
	Earliest
	// Latest: the later one.
	Latest
)

// Keep says which due time a timer that waits has in the end. The message is the
// new one whichever it is. Default [New]: calls that follow each other push the
// timer out, which debounces. With [Earliest] they never do: the first one says
// when, which throttles. [Latest] debounces where calls may come out of order.
// Another value is [ErrInvalid]. The last of several holds.
func Keep(which Which) Option {
	return option(func(r *store.TimerRules) {
		r.Keep = store.Keep(which)
		if which > Latest {
			r.Err = fmt.Errorf("%w: keep %d", ErrInvalid, which)
		}
	})
}

// MaxWait bounds how far a timer is pushed out: it is due at most this long after
// it was first stored, by the database's clock, however often it is rescheduled.
// Default, and zero: no bound; below zero is [ErrInvalid]. A timer that waits for
// a retry, or is stored anew, begins anew. The last of several holds.
func MaxWait(d time.Duration) Option {
	return option(func(r *store.TimerRules) {
		r.MaxWait = d
		if d < 0 {
			r.Err = fmt.Errorf("%w: a longest wait of %v", ErrInvalid, d)
		}
	})
}

// Policy is what to do about a timer that is running.
type Policy uint8

const (
	// Rearm stores the new timer beside the one that runs, and gives it the id.
	// The one that runs is a plain message from then on: it ends as it does, and
	// where it fails it is retried, so both may run, and at the same time, if the
	// new one is due before the other has ended. What became of it is written once
	// the transaction has ended; other messages do not wait for that. Only a
	// transactional handler does, at its own commit, so keep the transaction short.
	Rearm Policy = iota
	// Refuse leaves everything as it is. The result says [Running].
	Refuse
)

// WhenRunning says what is done about a timer that is running. Default [Rearm],
// which loses nothing. Another value is [ErrInvalid]. The last of several holds.
func WhenRunning(p Policy) Option {
	return option(func(r *store.TimerRules) {
		r.Refuse = p == Refuse
		if p > Refuse {
			r.Err = fmt.Errorf("%w: policy %d", ErrInvalid, p)
		}
	})
}

// Reschedule moves the timer of this id to the given time and gives it this
// message, in one statement; where there is none it stores one. Attempts and
// deliveries begin at zero again: a timer that waits for a retry is replaced.
//
// Outcomes: [Scheduled], [Rescheduled], [Rearmed], or [Running]. Only the last
// means that nothing was stored. It comes where [WhenRunning] says [Refuse], and
// where another transaction keeps the timer locked: one that has moved it and is
// not over yet, or a transactional batch whose handler runs. Then call again in
// another transaction, or let it be.
//
// It is part of the transaction tx, and one round trip, or up to four where the
// timer is running. The timer is locked until tx ends: a run that begins later
// sees what tx wrote. Errors are those of [Schedule], and [ErrInvalid]. Reschedule
// is as safe for concurrent use as tx is.
func Reschedule(ctx context.Context, tx queue.Tx, id string, at time.Time, message queue.Draft, opts ...Option) (Result, error) {
	return reschedule(ctx, tx, id, due{at: at}, message, opts)
}

// RescheduleAfter is [Reschedule] to some time after the start of the
// transaction, by the database's clock. Zero is at once; below zero or above
// [queue.MaxDelay] is [queue.ErrInvalidDelay].
func RescheduleAfter(ctx context.Context, tx queue.Tx, id string, after time.Duration, message queue.Draft, opts ...Option) (Result, error) {
	return reschedule(ctx, tx, id, due{after: after, relative: true}, message, opts)
}

func reschedule(ctx context.Context, tx queue.Tx, id string, when due, message queue.Draft, opts []Option) (r Result, err error) {
	message, rules, err := apply(message, opts)
	seal, end := queue.Publication(ctx, message)
	defer func() { end([]int64{r.stored()}, err) }()
	row, t, problem := prepare(seal, 0, id, when)
	if err == nil {
		err = problem
	}
	if err == nil {
		err = access.Write(ctx, tx, t, false, func(o store.Outbox) error {
			w, err := o.RescheduleTimer(ctx, &row, rules)
			r = result(w, Running)
			return err
		})
	}
	if err != nil {
		return Result{}, failed("reschedule", id, row.Queue, err)
	}
	return r, nil
}

// apply parts the options of the message from the rules.
func apply(message queue.Draft, opts []Option) (queue.Draft, store.TimerRules, error) {
	var rules store.TimerRules
	var publish []queue.PublishOption
	for _, o := range opts {
		if o == nil {
			return message, rules, fmt.Errorf("%w: an option is nil", ErrInvalid)
		}
		o.ApplyTimer(&rules)
		if p, ok := o.(queue.PublishOption); ok {
			publish = append(publish, p)
		}
	}
	if len(publish) > 0 {
		message = message.With(publish...)
	}
	return message, rules, rules.Err
}
