package typed

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

// Handle subscribes h to the queue's messages; give the subscription to
// [queue.NewWorker]. What h returns decides: nil acknowledges, an error asks the
// retry policy; see [queue.Handler] for more. The envelope is in the context: see
// [queue.FromContext]. h is called concurrently.
//
// Delivery is at least once: a worker may die, or lose its lease, after h has
// done its work and before that is written down.
//
// A payload that is no T never reaches h: the message becomes a dead letter with
// its bytes intact; see [queue.Undecodable].
func (q Queue[T]) Handle(h func(ctx context.Context, v T) error, opts ...queue.SubscribeOption) queue.Subscription {
	if h == nil {
		return q.bytes.Handle(nil, opts...) // refused by NewWorker; so below
	}
	return q.bytes.Handle(func(ctx context.Context, d *queue.Delivery) error {
		v, err := q.lift(d)
		if err != nil {
			return err
		}
		return h(ctx, v)
	}, opts...)
}

// HandleMessage is [Queue.Handle] for a handler that wants the whole message: its
// id, attempt, headers and times, and its Ack, Nack and Reject.
func (q Queue[T]) HandleMessage(h func(ctx context.Context, m *Message[T]) error, opts ...queue.SubscribeOption) queue.Subscription {
	if h == nil {
		return q.bytes.Handle(nil, opts...)
	}
	return q.bytes.Handle(func(ctx context.Context, d *queue.Delivery) error {
		v, err := q.lift(d)
		if err != nil {
			return err
		}
		return h(ctx, &Message[T]{Delivery: d, Value: v})
	}, opts...)
}

// HandleTx subscribes a handler whose writes on tx, the messages it publishes on
// tx, and the acknowledgement are one commit: exactly once in effect. When h
// returns an error, everything on tx is rolled back. See [queue.TxHandler].
func (q Queue[T]) HandleTx(h func(ctx context.Context, tx pgx.Tx, v T) error, opts ...queue.SubscribeOption) queue.Subscription {
	if h == nil {
		return q.bytes.HandleTx(nil, opts...)
	}
	return q.bytes.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
		v, err := q.lift(d)
		if err != nil {
			return err
		}
		return h(ctx, tx, v)
	}, opts...)
}

// HandleBatch subscribes a handler that gets several messages and returns an
// outcome for each, in their order: what [Queue.Handle] would return for it, nil
// where it is done. A message without an outcome has failed, so a nil slice says
// that all have. Messages that do not decode are settled apart and are not among
// them. See [queue.BatchHandler].
func (q Queue[T]) HandleBatch(h func(ctx context.Context, batch []*Message[T]) []error, opts ...queue.SubscribeOption) queue.Subscription {
	if h == nil {
		return q.bytes.HandleBatch(nil, opts...)
	}
	return q.bytes.HandleBatch(func(ctx context.Context, batch []*queue.Delivery) []error {
		return q.each(batch, func(ms []*Message[T]) []error { return h(ctx, ms) })
	}, opts...)
}

// HandleBatchTx subscribes a handler that gets several messages and the
// transaction in which they are claimed, handled and deleted: exactly once in
// effect, and the fastest form. One bad message does not take the others with
// it; h may be called again with the rest. See [queue.BatchTxHandler].
func (q Queue[T]) HandleBatchTx(h func(ctx context.Context, tx pgx.Tx, batch []*Message[T]) []error, opts ...queue.SubscribeOption) queue.Subscription {
	if h == nil {
		return q.bytes.HandleBatchTx(nil, opts...)
	}
	return q.bytes.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, batch []*queue.Delivery) []error {
		return q.each(batch, func(ms []*Message[T]) []error { return h(ctx, tx, ms) })
	}, opts...)
}

// each decodes a batch, has h handle what decodes, and puts the outcomes where
// they belong. A missing outcome counts as failed.
func (q Queue[T]) each(batch []*queue.Delivery, h func([]*Message[T]) []error) []error {
	outcomes := make([]error, len(batch))
	all := make([]Message[T], len(batch))
	ms := make([]*Message[T], 0, len(batch))
	at := make([]int, 0, len(batch)) // where in outcomes
	for i, d := range batch {
		v, err := q.lift(d)
		if err != nil {
			outcomes[i] = err
			continue
		}
		all[i] = Message[T]{Delivery: d, Value: v}
		ms, at = append(ms, &all[i]), append(at, i)
	}
	if len(ms) == 0 {
		return outcomes
	}
	said := h(ms)
	for i := range ms {
		if i < len(said) {
			outcomes[at[i]] = said[i]
		} else {
			outcomes[at[i]] = fmt.Errorf("%w: %d outcomes for %d messages; each needs one, nil if it is done", queue.ErrNoOutcome, len(said), len(ms))
		}
	}
	return outcomes
}

// Retry is a retry policy that sees the message. It is asked only on failure, and
// must be pure, as [retry.Policy] says. The value is the zero T where the payload
// does not decode (such a message is not retried, but a manual Nack may ask).
func (q Queue[T]) Retry(decide func(m *Message[T], f retry.Failure) retry.Decision) queue.SubscribeOption {
	if decide == nil {
		return queue.RetryFunc(nil)
	}
	return queue.RetryFunc(func(d *queue.Delivery, f retry.Failure) retry.Decision {
		v, _ := q.lift(d)
		return decide(&Message[T]{Delivery: d, Value: v}, f)
	})
}
