package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// handlers are those of a worker process. Each run is in the journal.
type handlers struct {
	name    string
	journal *journal
}

func (h *handlers) subscriptions() queue.Subscriptions {
	return queue.Subscriptions{
		plain.HandleMessage(h.one),
		timer.HandleMessage(h.one),
		deadly.HandleMessage(h.one, queue.MaxDeliveries(deadlyLimit), queue.Concurrency(1), queue.Prefetch(0)),
		manual.HandleMessage(h.byHand, queue.Acknowledge(queue.Manual)),
		batch.HandleBatch(h.several, queue.BatchSize(20), queue.Concurrency(2)),
		inTx.HandleTx(func(ctx context.Context, tx pgx.Tx, _ message) error { return h.inTx(ctx, tx, false) }),
		chain.HandleTx(func(ctx context.Context, tx pgx.Tx, _ message) error { return h.inTx(ctx, tx, true) }),
		batchTx.HandleBatchTx(h.severalInTx, queue.BatchSize(20), queue.Concurrency(2)),
	}
}

// begin writes that a run begins, and says what it is to do.
func (h *handlers) begin(m *typed.Message[message], held bool) (s step, end func(outcome string)) {
	end = h.journal.begin(line{
		ID: m.ID, Key: m.Value.Key, Held: held, Attempt: m.Attempt, Delivery: m.Deliveries, Claimed: m.ClaimedAt.UnixMicro(),
	})
	return m.Value.now(m.Attempt), end
}

func (h *handlers) one(ctx context.Context, m *typed.Message[message]) error {
	s, end := h.begin(m, false)
	outcome, err := h.act(ctx, m.Delivery, s)
	end(outcome)
	if s == stepPanic && err != nil {
		panic(err)
	}
	return err
}

var errAsked = errors.New("the message asked for it")

// act does what a step says, up to what the handler is to return.
func (h *handlers) act(ctx context.Context, d *queue.Delivery, s step) (outcome string, err error) {
	switch s {
	case stepOK:
	case stepNap:
		select {
		case <-ctx.Done():
			return outcomeCancelled, context.Cause(ctx)
		case <-time.After(time.Duration(d.ID%20) * 20 * time.Millisecond):
		}
	case stepBlock:
		select {
		case <-ctx.Done():
			return outcomeCancelled, context.Cause(ctx)
		case <-time.After(longerThan):
		}
	case stepStubborn:
		time.Sleep(longerThan)
	case stepDeadly:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case stepSnooze:
		if d.ClaimedAt.Sub(d.CreatedAt) < time.Second {
			return string(s), queue.Snooze(300 * time.Millisecond)
		}
	case stepFail, stepPanic:
		return string(s), errAsked
	case stepPermanent:
		return string(s), queue.Permanent(errAsked)
	case stepDiscard:
		return string(s), queue.Discard("the message asked for it")
	default:
		return "", fmt.Errorf("there is no step %q", s)
	}
	return string(stepOK), nil
}

func (h *handlers) byHand(ctx context.Context, m *typed.Message[message]) error {
	s, end := h.begin(m, false)
	outcome, err := string(s), error(nil)
	switch s {
	case stepNack:
		err = m.Nack(100 * time.Millisecond)
	case stepReject:
		err = m.Reject("the message asked for it")
	case stepFail: // returns without a word
	default:
		if outcome, err = h.act(ctx, m.Delivery, s); err == nil {
			err = m.Ack()
		}
	}
	end(outcome)
	return err
}

func (h *handlers) several(ctx context.Context, all []*typed.Message[message]) []error {
	return h.together(all, false, func(s step, m *typed.Message[message]) (string, error) { return h.act(ctx, m.Delivery, s) })
}

// together runs a batch. One message that panics fails all of them.
func (h *handlers) together(all []*typed.Message[message], held bool, act func(step, *typed.Message[message]) (string, error)) []error {
	steps := make([]step, len(all))
	ends := make([]func(string), len(all))
	for i, m := range all {
		steps[i], ends[i] = h.begin(m, held)
	}
	errs := make([]error, len(all))
	outcomes := make([]string, len(all))
	panics := false
	for i, m := range all {
		outcomes[i], errs[i] = act(steps[i], m)
		panics = panics || steps[i] == stepPanic && errs[i] != nil
	}
	for i, end := range ends {
		if panics {
			outcomes[i] = string(stepPanic)
		}
		end(outcomes[i])
	}
	if panics {
		panic(errAsked)
	}
	return errs
}

const effectSQL = `INSERT INTO faults.effect (key, worker) VALUES ($1, $2)`

// inTx writes an effect, and with chained publishes a message, before it does what the step says: what it wrote must go
// when that fails.
func (h *handlers) inTx(ctx context.Context, tx pgx.Tx, chained bool) error {
	q := inTx
	if chained {
		q = chain
	}
	m, err := q.FromContext(ctx)
	if err != nil {
		return err
	}
	s, end := h.begin(m, false)
	outcome, err := func() (string, error) {
		if _, err := tx.Exec(ctx, effectSQL, m.Value.Key, h.name); err != nil {
			return failedOr(ctx), err
		}
		if chained {
			next := message{Key: -m.Value.Key, Do: []step{stepOK}}
			if err := publish(ctx, tx, "chained", plain, next); err != nil {
				return failedOr(ctx), err
			}
		}
		return h.act(ctx, m.Delivery, s)
	}()
	end(outcome)
	if s == stepPanic && err != nil {
		panic(err)
	}
	return err
}

// failedOr is the outcome of a run in which the database failed.
func failedOr(ctx context.Context) string {
	if ctx.Err() != nil {
		return outcomeCancelled
	}
	return string(stepFail)
}

func (h *handlers) severalInTx(ctx context.Context, tx pgx.Tx, all []*typed.Message[message]) []error {
	return h.together(all, true, func(s step, m *typed.Message[message]) (string, error) {
		if _, err := tx.Exec(ctx, effectSQL, m.Value.Key, h.name); err != nil {
			return failedOr(ctx), err
		}
		return h.act(ctx, m.Delivery, s)
	})
}
