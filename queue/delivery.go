package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Delivery is a message in the hands of a handler, in bytes. It is valid until
// the handler returns, and its methods are safe for concurrent use until then.
type Delivery struct {
	// ID is the id that Publish returned.
	ID    int64
	Queue string
	// Payload must not be changed.
	Payload []byte
	// Attempt is 1 for the first attempt: one more than the failures so far.
	Attempt int64
	// Deliveries counts the times the message has been claimed, this one
	// included; it passes Attempt where a worker died with the message.
	Deliveries int64
	// TimerID is empty for a message that is no timer.
	TimerID string
	// CreatedAt, DueAt and ClaimedAt are instants of the database's clock.
	CreatedAt, DueAt, ClaimedAt time.Time
	// FirstAttemptAt and LastAttemptAt tell of the failed attempts before this
	// one; they are zero on the first.
	FirstAttemptAt, LastAttemptAt time.Time

	rawHeaders []byte
	token      uuid.UUID // of the lease
	committed  bool      // by the handler's own transaction; process's goroutine only

	mu   sync.Mutex
	said verdict // by Ack, Nack or Reject
}

// verdict is what a handler said by a call instead of its return value.
type verdict struct {
	kind   verdictKind
	delay  time.Duration // of a nack; below zero: the retry policy's
	reason string        // of a reject
}

type verdictKind uint8

const (
	saidNothing verdictKind = iota
	saidAck
	saidNack
	saidReject
)

func newDelivery(c *store.Claimed) *Delivery {
	d := new(Delivery)
	d.fill(c)
	return d
}

// newDeliveries are those of a batch, which live and end together.
func newDeliveries(rows []store.Claimed) []*Delivery {
	all, batch := make([]Delivery, len(rows)), make([]*Delivery, len(rows))
	for i := range rows {
		all[i].fill(&rows[i])
		batch[i] = &all[i]
	}
	return batch
}

func (d *Delivery) fill(c *store.Claimed) {
	d.ID, d.Queue, d.Payload = c.ID, c.Queue, c.Payload
	d.Attempt, d.Deliveries, d.TimerID = c.Attempts+1, c.Deliveries, c.TimerID
	d.CreatedAt, d.DueAt, d.ClaimedAt = c.CreatedAt, c.DueAt, c.ClaimedAt
	d.FirstAttemptAt, d.LastAttemptAt = c.FirstAttemptAt, c.LastAttemptAt
	d.rawHeaders, d.token = c.Headers, c.Token
}

// Header returns one header, "" where there is none.
func (d *Delivery) Header(name string) string { return header(d.rawHeaders, name) }

// Headers returns all headers, the envelope's included, in a map of its own. A
// value that is no string in the table is given as its JSON text.
func (d *Delivery) Headers() map[string]string { return DecodeHeaders(d.rawHeaders) }

// ContentType says how the payload is encoded, "" where nothing says.
func (d *Delivery) ContentType() string { return d.Header(HeaderContentType) }

// CorrelationID ties together the messages of one story.
func (d *Delivery) CorrelationID() string { return d.Header(HeaderCorrelationID) }

// Ack says that the message is done. What the handler returns then decides
// nothing, and the row is deleted after it has returned. A second call of Ack,
// Nack or Reject is [ErrSettled].
func (d *Delivery) Ack() error { return d.say(verdict{kind: saidAck}) }

// Nack says that this attempt failed and when to try again: after the given
// time, by the database's clock, or, below zero, when the retry policy says. The
// policy decides whether to try again at all. See [Delivery.Ack] for the rest.
func (d *Delivery) Nack(after time.Duration) error {
	return d.say(verdict{kind: saidNack, delay: min(after, MaxDelay)})
}

// Reject makes the message a dead letter with the reason "rejected"; the given
// text becomes its error. See [Delivery.Ack] for the rest.
func (d *Delivery) Reject(reason string) error {
	return d.say(verdict{kind: saidReject, reason: reason})
}

func (d *Delivery) say(v verdict) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.said.kind != saidNothing {
		return fmt.Errorf("message %d of queue %q: %w", d.ID, d.Queue, ErrSettled)
	}
	d.said = v
	return nil
}

// unsay takes an ack back that could not be carried out.
func (d *Delivery) unsay() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = verdict{}
}

func (d *Delivery) verdict() verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said
}

type contextKey struct{}

// FromContext returns the message that the context's handler is about. Handlers
// of the plain form find the envelope here. Publishing with such a context
// carries the correlation id and the trace context on, unless told otherwise.
func FromContext(ctx context.Context) (*Delivery, bool) {
	d, ok := ctx.Value(contextKey{}).(*Delivery)
	return d, ok
}

// Context is ctx with the message in it, as a handler of one message gets it: what
// is published with it carries the correlation id and the trace context on, and
// [FromContext] finds the message. A handler of batches has a message to choose.
func (d *Delivery) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, d)
}
