package queue

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// DefaultMaxBytes is the largest payload that a queue publishes unless told
// otherwise: 1 MiB, as brokers have it. A table is no place for files.
const DefaultMaxBytes = 1 << 20

// Queue is a named queue of bytes in an outbox; package typed puts a type on
// it. It is a value without a connection: make it once, at package level if you
// like. It is immutable and safe for concurrent use.
type Queue struct {
	name     string
	outbox   Outbox
	table    *postgres.Table
	maxBytes int
	err      error // of construction; every call returns it
}

// New names a queue in the zero [Outbox]. A name that is empty, longer than 255
// characters, not valid text, or "letterbox.paused" is kept, and every call on the queue, and
// [NewWorker], return [ErrInvalidName].
func New(name string) Queue {
	return Queue{name: name, err: checkName(name)}.In(Outbox{}).MaxBytes(DefaultMaxBytes)
}

// In returns the queue of the same name in another outbox. What is wrong with
// the outbox's names comes back from every call.
func (q Queue) In(o Outbox) Queue {
	t, err := o.Bind()
	if err != nil {
		q.err = errors.Join(q.err, fmt.Errorf("queue %q: %w", q.name, err))
	}
	q.outbox, q.table = o, t
	return q
}

// MaxBytes returns the queue with another limit on the encoded payload of a
// publish, in bytes. Zero or less means none but PostgreSQL's own of 1 GB.
func (q Queue) MaxBytes(n int) Queue {
	q.maxBytes = n
	return q
}

// Broken returns the queue with a fault of its construction, which every call
// returns. It is for those who build on Queue, as package typed does.
func (q Queue) Broken(err error) Queue {
	q.err = errors.Join(q.err, err)
	return q
}

// Name is the queue's name.
func (q Queue) Name() string { return q.name }

// Outbox is where the queue lives.
func (q Queue) Outbox() Outbox { return q.outbox }

// Err is what is wrong with the queue's construction; nil if nothing is.
func (q Queue) Err() error {
	if q.table == nil && q.err == nil {
		return fmt.Errorf("queue: %w", ErrNotMade)
	}
	return q.err
}

// Fits is [ErrTooLarge] where a payload passes the limit of [Queue.MaxBytes].
func (q Queue) Fits(payload []byte) error {
	if q.maxBytes > 0 && len(payload) > q.maxBytes {
		return fmt.Errorf("%w: payload has %d bytes, the limit is %d (see MaxBytes)", ErrTooLarge, len(payload), q.maxBytes)
	}
	return nil
}

// Publish writes one message in tx and returns its id. See [Publish] for what it
// commits with and which errors come back.
func (q Queue) Publish(ctx context.Context, tx Tx, payload []byte, opts ...PublishOption) (int64, error) {
	ids, err := Publish(ctx, tx, q.Draft(payload, opts...))
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// Draft prepares a message for [Publish]. What is wrong with it comes back from
// there. The payload is not copied.
func (q Queue) Draft(payload []byte, opts ...PublishOption) Draft {
	d := Draft{queue: q, payload: payload}
	for _, o := range opts {
		o.applyPublish(&d)
	}
	d.check()
	return d
}

func checkName(name string) error {
	switch n := utf8.RuneCountInString(name); {
	case n == 0:
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case name == postgres.PausedQueue:
		return fmt.Errorf("%w: %q stands for the queues that are paused", ErrInvalidName, name)
	case n > maxName:
		return fmt.Errorf("%w: %.20q... has %d characters, the limit is %d", ErrInvalidName, name, n, maxName)
	}
	if err := checkText(name); err != nil {
		return fmt.Errorf("%w: %q %w", ErrInvalidName, name, err)
	}
	return nil
}

// maxName is the width of the columns queue and timer_id, in characters.
const maxName = 255
