package typed

import (
	"context"
	"fmt"
	"slices"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
)

// Queue is a queue of values of type T. Make it with [NewQueue], once, at package
// level if you like: it holds no connection. It is an immutable value and safe
// for concurrent use.
type Queue[T any] struct {
	bytes  queue.Queue
	codecs codec.Set[T]
}

// NewQueue names a queue of T in the zero [queue.Outbox]. The first codec writes,
// JSON if none is given; every listed one reads, and JSON and MessagePack are
// always read, as the row's content type says, so a queue can move from one
// encoding to another while old rows are still in the table.
//
// What is wrong with the name or the codecs is kept, and comes back from every
// call on the queue and from [queue.NewWorker].
func NewQueue[T any](name string, codecs ...codec.Codec[T]) Queue[T] {
	q := Queue[T]{bytes: queue.New(name)}
	var err error
	if q.codecs, err = codec.NewSet(codecs...); err != nil {
		q.bytes = q.bytes.Broken(err)
	}
	return q
}

// In returns the queue of the same name in another outbox.
func (q Queue[T]) In(o queue.Outbox) Queue[T] {
	q.bytes = q.bytes.In(o)
	return q
}

// MaxBytes returns the queue with another limit on an encoded value, in bytes;
// default [queue.DefaultMaxBytes]. Zero or less means none.
func (q Queue[T]) MaxBytes(n int) Queue[T] {
	q.bytes = q.bytes.MaxBytes(n)
	return q
}

// Name is the queue's name.
func (q Queue[T]) Name() string { return q.bytes.Name() }

// Bytes is the same queue without its type.
func (q Queue[T]) Bytes() queue.Queue { return q.bytes }

// Publish writes v in the transaction tx and returns the message's id. The
// message exists if and only if tx commits, and is delivered after that. It is
// one round trip. Errors name the queue; they are those of [queue.Publish] and,
// where v cannot be encoded, a [*codec.EncodeError].
func (q Queue[T]) Publish(ctx context.Context, tx queue.Tx, v T, opts ...queue.PublishOption) (int64, error) {
	ids, err := queue.Publish(ctx, tx, q.Draft(v, opts...))
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// PublishBatch writes all values in tx and returns their ids in order, in one
// round trip, or a few for more than about 5,000. The options hold for each of
// them. No values is no error. See [Queue.Publish]; where one value cannot be
// written, none is.
func (q Queue[T]) PublishBatch(ctx context.Context, tx queue.Tx, values []T, opts ...queue.PublishOption) ([]int64, error) {
	if err := q.bytes.Err(); err != nil { // with no values, too
		return nil, fmt.Errorf("publish to queue %q: %w", q.Name(), err)
	}
	drafts := make([]queue.Draft, len(values))
	for i := range values {
		drafts[i] = q.Draft(values[i], opts...)
	}
	return queue.Publish(ctx, tx, drafts...)
}

// Draft prepares a message for [queue.Publish], which writes messages of many
// queues, each with options of its own, in one round trip. What is wrong with
// it, a value that cannot be encoded included, comes back from there.
func (q Queue[T]) Draft(v T, opts ...queue.PublishOption) queue.Draft {
	if err := q.bytes.Err(); err != nil {
		return q.bytes.Draft(nil)
	}
	payload, err := q.codecs.Append(nil, v)
	if err != nil {
		return q.bytes.BadDraft(err)
	}
	return q.bytes.Draft(payload, append(slices.Clip(opts), queue.ContentType(q.codecs.ContentType()))...)
}

// Decode reads a payload as a handler's is read, by the codec of its content type.
// An error is a [*codec.DecodeError].
func (q Queue[T]) Decode(contentType string, payload []byte) (T, error) {
	return q.codecs.Decode(contentType, payload)
}

// lift decodes a delivery.
func (q Queue[T]) lift(d *queue.Delivery) (T, error) {
	v, err := q.Decode(d.ContentType(), d.Payload)
	if err != nil {
		return v, queue.Undecodable(err)
	}
	return v, nil
}
