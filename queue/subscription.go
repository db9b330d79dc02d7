package queue

import (
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// Subscription says how a queue's messages are handled. Make it with
// [Queue.Handle] and its siblings, or a typed queue's methods, and give it to
// [NewWorker]: it is a worker option, and so is a slice of them. It is a value
// and can be used in several workers.
type Subscription struct {
	queue   Queue
	form    form
	options []SubscribeOption
}

// form is the handler, in the one of its forms that is not nil.
type form struct {
	each    Handler
	tx      TxHandler
	batch   BatchHandler
	batchTx BatchTxHandler
}

// Subscriptions is a list of subscriptions as one worker option, for domain
// packages that handle several queues.
type Subscriptions []Subscription

// Handle subscribes a handler of single messages. Delivery is at least once: a
// worker may die, or lose its lease, after the handler has done its work and
// before that is written down.
func (q Queue) Handle(h Handler, opts ...SubscribeOption) Subscription {
	return Subscription{queue: q, form: form{each: h}, options: opts}
}

// HandleTx subscribes a handler whose writes in its transaction, the messages it
// publishes there, and the acknowledgement are one commit: exactly once in
// effect. See [TxHandler].
func (q Queue) HandleTx(h TxHandler, opts ...SubscribeOption) Subscription {
	return Subscription{queue: q, form: form{tx: h}, options: opts}
}

// HandleBatch subscribes a handler that gets several messages at once and says
// what became of each: at least once, as with [Queue.Handle]. See [BatchHandler].
func (q Queue) HandleBatch(h BatchHandler, opts ...SubscribeOption) Subscription {
	return Subscription{queue: q, form: form{batch: h}, options: opts}
}

// HandleBatchTx subscribes a handler that gets several messages and a transaction
// in which they are claimed, handled and deleted: exactly once in effect, and
// the fastest form. See [BatchTxHandler].
func (q Queue) HandleBatchTx(h BatchTxHandler, opts ...SubscribeOption) Subscription {
	return Subscription{queue: q, form: form{batchTx: h}, options: opts}
}

// check lists what is wrong with a subscription and its settings.
func (s Subscription) check(set settings) error {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("queue %q: "+format, append([]any{s.queue.name}, args...)...))
	}
	if err := s.queue.Err(); err != nil {
		refuse("%w", err)
	}
	if s.form.each == nil && s.form.tx == nil && s.form.batch == nil && s.form.batchTx == nil {
		refuse("the handler is nil")
	}
	if set.concurrency < 1 {
		refuse("concurrency is %d, it must be at least 1", set.concurrency)
	}
	if set.batchSize < 1 || set.batchSize > maxBatch {
		refuse("batch size is %d, it must be from 1 to %d", set.batchSize, maxBatch)
	}
	if set.timeout < 0 {
		refuse("timeout is %v, it must not be below zero", set.timeout)
	}
	if set.ahead == refusedPrefetch {
		refuse("prefetch is below zero")
	}
	if set.lease < minLease {
		refuse("lease is %v, it must be at least %v", set.lease, minLease)
	}
	if err := retry.Validate(set.retry(&Delivery{})); err != nil {
		refuse("retry policy: %w", err)
	}
	switch {
	case set.ack == AckFirst:
		refuse("acknowledging before the handler runs is refused: a worker that dies in between would lose the message")
	case set.ack > AckFirst:
		refuse("there is no ack policy %d", set.ack)
	}
	if set.maxDeliveries < 0 {
		refuse("max deliveries is %d, it must not be below zero", set.maxDeliveries)
	}
	if set.render == nil {
		refuse("the renderer of errors is nil")
	}
	for _, m := range set.batchMiddleware {
		if m == nil {
			refuse("a batch middleware is nil")
		}
	}
	for _, m := range set.middleware {
		if m == nil {
			refuse("a middleware is nil")
		}
	}
	return errors.Join(problems...)
}
