package typed

import (
	"context"
	"fmt"

	"github.com/letterbox-go/letterbox/queue"
)

// Message is a message with its decoded value. The embedded [queue.Delivery] has
// the envelope (id, attempt, headers, times) and the verdicts Ack, Nack and
// Reject. It is valid until the handler returns.
type Message[T any] struct {
	*queue.Delivery
	// Value is the decoded payload.
	Value T
}

// FromContext returns the message that a handler's context is about, for
// handlers of the plain form. The payload is decoded again. It is an error where
// the context is no handler's, or the payload is no T.
func (q Queue[T]) FromContext(ctx context.Context) (*Message[T], error) {
	d, ok := queue.FromContext(ctx)
	if !ok {
		return nil, fmt.Errorf("message of queue %q: the context is not a handler's", q.Name())
	}
	v, err := q.lift(d)
	if err != nil {
		return nil, fmt.Errorf("message %d of queue %q: %w", d.ID, d.Queue, err)
	}
	return &Message[T]{Delivery: d, Value: v}, nil
}
