package typed

import (
	"context"

	"github.com/letterbox-go/letterbox/queue"
)

// Peeked is a message that is in the table, with its value.
type Peeked[T any] struct {
	queue.Peeked
	// Value is the decoded payload, and Err why it does not decode; then Value
	// is what the codec left.
	Value T
	Err   error
}

// Peek shows messages of the queue in a state, a page of them, without taking them,
// and says what to give as [queue.Page].After for the next page: empty where this
// one is the last. A payload that does not decode is an error of its message alone.
// See [queue.Queue.Peek] for the order, the limits and the errors.
func (q Queue[T]) Peek(ctx context.Context, db queue.Reader, state queue.MessageState, p queue.Page) (list []Peeked[T], next string, err error) {
	rows, next, err := q.bytes.Peek(ctx, db, state, p)
	if err != nil {
		return nil, "", err
	}
	list = make([]Peeked[T], len(rows))
	for i := range rows {
		list[i] = q.liftPeeked(rows[i])
	}
	return list, next, nil
}

// PeekID shows one message of the queue, in whatever state; false: the queue has
// none with this id, or not any more.
func (q Queue[T]) PeekID(ctx context.Context, db queue.Reader, id int64) (Peeked[T], bool, error) {
	row, ok, err := q.bytes.PeekID(ctx, db, id)
	if err != nil || !ok {
		return Peeked[T]{}, false, err
	}
	return q.liftPeeked(row), true, nil
}

func (q Queue[T]) liftPeeked(row queue.Peeked) Peeked[T] {
	v, err := q.Decode(row.ContentType(), row.Payload)
	return Peeked[T]{Peeked: row, Value: v, Err: err}
}
