package timers

import (
	"context"
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Cancel removes the timer of this id if it waits, for its time or for a retry.
// The timers must be those of one queue: see [Of].
//
// Outcomes: [Cancelled]; [Running], where a worker has claimed it, or another
// transaction has it locked, and it stays; [Absent]. A timer whose worker has died
// is running until another takes it over, and is run then. Cancelled is true if
// and only if the transaction tx commits, of which it is part: until then the
// timer is locked, and does not run. It is one round trip, or two where the
// timer was not cancelled.
//
// Errors are [ErrInvalidID] and those of [queue.Publish].
func (t Timers) Cancel(ctx context.Context, tx queue.Tx, id string) (r Result, err error) {
	if err = errors.Join(t.one(), checkID(id)); err == nil {
		err = access.Write(ctx, tx, t.table, false, func(o store.Outbox) error {
			w, err := o.CancelTimer(ctx, t.queue, id)
			r = cancelled(w)
			return err
		})
	}
	if err != nil {
		return Result{}, failed("cancel", id, t.queue, err)
	}
	return r, nil
}

func cancelled(w store.Written) Result {
	found := existing(w.Found)
	r := Result{Outcome: Cancelled, ID: found.ID, DueAt: found.DueAt, Existing: found}
	switch {
	case w.Found == nil:
		r.Outcome = Absent
	case w.ID == 0:
		r.Outcome = Running
	}
	return r
}

// CancelCount is how many timers were cancelled at once.
type CancelCount struct {
	// Cancelled are gone if the transaction commits.
	Cancelled int64
	// Running were left, because a worker has claimed them or another transaction
	// has them locked.
	Running int64
}

// CancelAll cancels every timer of the queue, in one statement, as [Timers.Cancel]
// does one. Plain messages stay. A timer that another transaction stores at the
// same time is not seen.
func (t Timers) CancelAll(ctx context.Context, tx queue.Tx) (CancelCount, error) {
	return t.cancelAll(ctx, tx, "")
}

// CancelPrefix cancels the timers of the queue whose ids begin with the prefix, as
// [Timers.CancelAll] does all. It reads all timers of the queue. An empty prefix
// is [ErrInvalidID].
func (t Timers) CancelPrefix(ctx context.Context, tx queue.Tx, prefix string) (CancelCount, error) {
	if err := checkID(prefix); err != nil {
		return CancelCount{}, t.failed("cancel", fmt.Errorf("prefix: %w", err))
	}
	return t.cancelAll(ctx, tx, prefix)
}

func (t Timers) cancelAll(ctx context.Context, tx queue.Tx, prefix string) (c CancelCount, err error) {
	if err = t.one(); err == nil {
		err = access.Write(ctx, tx, t.table, false, func(o store.Outbox) (err error) {
			c.Cancelled, c.Running, err = o.CancelTimers(ctx, t.queue, prefix)
			return err
		})
	}
	if err != nil {
		return CancelCount{}, t.failed("cancel", err)
	}
	return c, nil
}
