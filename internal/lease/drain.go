package lease

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// drain ends the engine: unstarted messages are handed back in one statement,
// running work gets the grace period, is then cancelled, and what it says is
// written down. The pump has stopped; its state is ours now.
func (e *Engine) drain(ctx context.Context, cancelWork context.CancelCauseFunc) error {
	e.stopping.Store(true)
	e.untold = e.pump.names() // of what was put off before
	for _, l := range e.lanes {
		close(l.work)
		for h := range l.work {
			e.settle(h, store.Outcome{Kind: store.Release})
		}
	}
	idle := make(chan struct{})
	go func() { // ends with the last slot, which may be after us: see UnfinishedError
		e.slots.Wait()
		close(idle)
	}()

	left := 0
	if !e.waitWriting(ctx, idle, e.cfg.Grace) {
		cancelled := e.atWork() // none, where the slots are only just ending
		if cancelled > 0 {
			e.log.Warn("grace period is over; cancelling running handlers", slog.Int("messages", cancelled))
		}
		cancelWork(ErrShutdown)
		if !e.waitWriting(ctx, idle, cancelWait) {
			left = e.leaveBehind()
		}
		if cancelled > 0 || left > 0 {
			e.tellDrainTimedOut(cancelled, left)
		}
	}
	e.finalWrites(ctx)
	if left > 0 {
		return &UnfinishedError{Messages: left}
	}
	return nil
}

// leaveBehind names the work that ignores its cancelled context.
func (e *Engine) leaveBehind() int {
	left := e.hands.running()
	for _, h := range left {
		e.log.Error("handler ignores its cancelled context and is left behind; its lease runs out by itself",
			slog.String("queue", h.lane.Name), slog.Int64("message_id", h.ID), slog.Duration("lease", h.lane.Lease))
	}
	n := len(left)
	for _, h := range e.held {
		if calls := int(h.running.Load()); calls > 0 {
			e.log.Error("handler ignores its cancelled context and is left behind; its transaction ends by its idle limit, or with the process",
				slog.String("queue", h.Name), slog.Int("calls", calls))
			n += calls
		}
	}
	return n
}

// waitWriting writes outcomes as they come, until all slots are idle (then it
// returns true) or the time is over. No write takes longer than that.
func (e *Engine) waitWriting(ctx context.Context, idle <-chan struct{}, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var backoff time.Duration
	for ctx.Err() == nil {
		next := e.writeDue(ctx, &backoff)
		select {
		case <-idle:
			return true
		case <-ctx.Done():
		case <-e.ledger.signal:
		case <-next:
		}
	}
	select { // both may have come true during a write
	case <-idle:
		return true
	default:
		return false
	}
}

// writeDue writes what is due and returns when to look again; nil: on a signal.
func (e *Engine) writeDue(ctx context.Context, backoff *time.Duration) <-chan time.Time {
	now := time.Now()
	at, any := e.ledger.due(now)
	if len(e.pump.orphans)+len(e.untold) > 0 {
		at, any = now, true
	}
	switch {
	case !any:
		return nil
	case now.Before(at):
		return time.After(at.Sub(now))
	}
	if err := e.writeNow(ctx); err != nil {
		*backoff = min(time.Second, max(firstBackoff, 2**backoff))
		return time.After(*backoff)
	}
	*backoff = 0
	if at, any := e.ledger.due(time.Now()); any { // somebody has a row locked
		return time.After(time.Until(at))
	}
	return nil
}

// writeNow writes everything in the ledger, hands back what lost answers had
// claimed, and tells the other workers of what has been put off.
func (e *Engine) writeNow(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, lastWrites)
	defer cancel()
	if len(e.pump.orphans) > 0 {
		if err := e.pump.returnOrphans(call); err != nil {
			return err
		}
	}
	if entries := e.pump.takeEntries(); len(entries) > 0 {
		for _, en := range entries {
			if en.outcome.Kind != store.Ack && !slices.Contains(e.untold, en.hand.lane.Name) {
				e.untold = append(e.untold, en.hand.lane.Name)
			}
		}
		if err := e.pump.send(call, entries, nil); err != nil {
			return err
		}
	}
	e.tell(call, e.untold)
	e.untold = nil
	return nil
}

// finalWrites writes what is left, as often as it takes within the bound.
func (e *Engine) finalWrites(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWrites)
	defer cancel()
	defer e.burier.close(ctx)
	for backoff := firstBackoff; ; backoff = min(time.Second, 2*backoff) {
		err, wait := e.writeNow(ctx), backoff
		if err == nil {
			// All dead letters have reached the burier now.
			e.lastGraves(ctx)
			at, any := e.ledger.due(time.Now())
			if !any {
				return
			}
			err, wait, backoff = errLocked, time.Until(at), firstBackoff
		}
		select {
		case <-ctx.Done():
			e.log.Error("could not write the last outcomes; their leases run out by themselves", e.failed(err))
			return
		case <-time.After(wait):
		}
	}
}

// errLocked is why outcomes are left that no write has failed with.
var errLocked = errors.New("other transactions have the rows locked")

// lastGraves writes the dead letters that are left, in half of the time. Those
// that it cannot write go back to their queue.
func (e *Engine) lastGraves(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWrites/2)
	defer cancel()
	e.burier.close(ctx)
	_ = e.burier.write(ctx) // what fails is handed back
	e.burier.giveUp()
}
