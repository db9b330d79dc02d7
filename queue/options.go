package queue

import (
	"time"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// SubscribeOption changes how one subscription's messages are delivered.
type SubscribeOption interface{ applySubscribe(*settings) }

// DeliveryOption is a [SubscribeOption] that can also be given to the worker: it
// is then the default of all its subscriptions.
type DeliveryOption interface {
	SubscribeOption
	WorkerOption
}

// settings is how messages are delivered.
type settings struct {
	concurrency   int
	ahead         int // below zero: adaptive
	lease         time.Duration
	ack           AckPolicy
	retry         func(*Delivery) retry.Policy
	maxDeliveries int64
	deadLetters   bool
	render        func(error) string
	timeout       time.Duration // zero: none
	batchSize     int

	middleware      []Middleware
	batchMiddleware []BatchMiddleware
}

// defaults are those of a form of handler.
func defaults(f form) settings {
	policy := retry.Default()
	set := settings{
		concurrency: 8,
		ahead:       -1,
		batchSize:   100,
		lease:       60 * time.Second,
		retry:       func(*Delivery) retry.Policy { return policy },
		deadLetters: true,
		render:      error.Error,
	}
	if f.batch != nil {
		set.concurrency = 1
	}
	if f.batchTx != nil { // two, so that one is handled while the other is fetched
		set.concurrency, set.timeout = 2, 30*time.Second
	}
	return set
}

type deliveryOption func(*settings)

func (o deliveryOption) applySubscribe(s *settings) { o(s) }
func (o deliveryOption) applyWorker(w *workerSettings) {
	w.delivery = append(w.delivery, o)
}

// Concurrency is how many calls of the handler may run at once in one worker.
// Default 8, but 1 for [Queue.HandleBatch] and 2 for [Queue.HandleBatchTx]; less
// than one is refused. The last of several holds.
func Concurrency(n int) DeliveryOption {
	return deliveryOption(func(s *settings) { s.concurrency = n })
}

// Prefetch is how many messages are claimed ahead of the handlers, beyond the
// ones being handled. Default: as many as the handlers are measured to finish in
// 100 ms, at most 2,000 and 32 MiB. Zero claims only what can be handled at
// once; below zero is refused. [Queue.HandleBatchTx] ignores it: it claims nothing
// ahead. The last of several holds.
func Prefetch(n int) DeliveryOption {
	return deliveryOption(func(s *settings) {
		s.ahead = n
		if n < 0 {
			s.ahead = refusedPrefetch
		}
	})
}

// refusedPrefetch tells a negative number of the caller's from the default.
const refusedPrefetch = -2

// BatchSize is the most messages that a handler of batches gets at once, from 1
// to 5,000. It gets fewer when fewer are there: nothing waits for a batch to
// fill, and one claim, which is what [Queue.HandleBatch] waits for, takes at most
// 1,000. Default 100. Other forms ignore it. The last of several holds.
func BatchSize(n int) DeliveryOption {
	return deliveryOption(func(s *settings) { s.batchSize = n })
}

const maxBatch = 5_000

// Timeout bounds one call of the handler: its context then ends with
// [context.DeadlineExceeded], and the error it returns is a failed attempt.
// Default, and zero: none, but 30 s for [Queue.HandleBatchTx], whose rows are
// locked meanwhile: there it bounds all calls of the transaction together, what
// settles the messages, and the commit. Below zero is refused. The last of several holds.
func Timeout(d time.Duration) DeliveryOption {
	return deliveryOption(func(s *settings) { s.timeout = d })
}

// Lease is how long a message stays claimed by a worker that has died, before
// another takes it over. A living worker extends the leases of what it has in
// hand, so handlers may run for longer. Default 60 s, as in the reference
// system; less than 100 ms is refused. All workers of a queue should use the
// same. The last of several holds.
func Lease(d time.Duration) DeliveryOption {
	return deliveryOption(func(s *settings) { s.lease = d })
}

// minLease leaves room for the extensions of a lease, which are round trips.
const minLease = 100 * time.Millisecond

// Retry sets the policy for failed attempts. Default [retry.Default]:
// exponential from 1 s to 5 min with 20 % jitter, 10 attempts. The last of
// several holds, [RetryFunc] included.
func Retry(p retry.Policy) DeliveryOption {
	return deliveryOption(func(s *settings) { s.retry = func(*Delivery) retry.Policy { return p } })
}

// RetryFunc sets a policy that sees the message. It must be pure, as
// [retry.Policy] says. The last of several holds, [Retry] included.
func RetryFunc(f func(*Delivery, retry.Failure) retry.Decision) DeliveryOption {
	if f == nil {
		return Retry(nil) // refused by NewWorker
	}
	return deliveryOption(func(s *settings) {
		s.retry = func(d *Delivery) retry.Policy {
			return retry.Func(func(failure retry.Failure) retry.Decision { return f(d, failure) })
		}
	})
}

// AckPolicy says what a handler's return value means for the message. Whatever
// the policy, a call of Ack, Nack or Reject on the message comes first, and
// [Permanent], [Snooze], [Discard] and undecodable payloads mean what they say.
type AckPolicy uint8

const (
	// RetryOnError acknowledges on nil and asks the retry policy on an error:
	// the default, and the reference system's.
	RetryOnError AckPolicy = iota
	// RejectOnError acknowledges on nil; the first error makes the message a
	// dead letter with the reason "rejected".
	RejectOnError
	// Manual leaves it to calls of Ack, Nack and Reject. A handler that returns
	// nil without one has failed with [ErrNotSettled]: this is logged, and the
	// retry policy decides.
	Manual
	// AckFirst, which acknowledges before the handler runs, is refused: a worker
	// that dies in between would lose the message.
	AckFirst
)

// Acknowledge sets the [AckPolicy]. Default [RetryOnError]. The last of several
// holds.
func Acknowledge(p AckPolicy) DeliveryOption {
	return deliveryOption(func(s *settings) { s.ack = p })
}

// MaxDeliveries is how often a message may be claimed. One that is claimed more
// often, because workers die with it, becomes a dead letter with the reason
// "max_deliveries" without being run again. Claims that ended in a failed
// attempt count too, so it should be well above the attempts of the retry
// policy. It is no protection for [Queue.HandleBatchTx], which counts only
// deliveries that fail. Default, and zero: no limit; below zero is refused. The
// last of several holds.
func MaxDeliveries(n int64) DeliveryOption {
	return deliveryOption(func(s *settings) { s.maxDeliveries = n })
}

// DeadLetters says whether messages that failed for good are kept in the
// dead-letter table. Default true. Without, they are deleted, each with a line
// in the log. The last of several holds.
func DeadLetters(on bool) DeliveryOption {
	return deliveryOption(func(s *settings) { s.deadLetters = on })
}

// ErrorText renders an error for the dead letter and the log, to redact or to
// drop it: an empty text is stored as null. What handlers return, what they panic
// with and the reasons of [Discard] and [Delivery.Reject] are shown to nobody
// before. Default: the error's Error. Of the text the first 8 KiB are kept. nil is
// refused. The last of several holds.
func ErrorText(render func(error) string) DeliveryOption {
	return deliveryOption(func(s *settings) { s.render = render })
}

// Use puts middleware around handlers of single messages, [Queue.HandleTx]
// included: there it stands outside the transaction. Handlers of batches ignore
// it; see [UseBatch]. Several add up: the first is the outermost, and a worker's
// stand outside a subscription's.
func Use(m ...Middleware) DeliveryOption {
	return deliveryOption(func(s *settings) { s.middleware = append(s.middleware[:len(s.middleware):len(s.middleware)], m...) })
}

// UseBatch puts middleware around [Queue.HandleBatch] and, outside the
// transaction's settling, [Queue.HandleBatchTx]. Other forms ignore it. See [Use]
// for the order.
func UseBatch(m ...BatchMiddleware) DeliveryOption {
	return deliveryOption(func(s *settings) {
		s.batchMiddleware = append(s.batchMiddleware[:len(s.batchMiddleware):len(s.batchMiddleware)], m...)
	})
}
