package typed

import (
	"context"

	"github.com/letterbox-go/letterbox/dlq"
)

// DeadLetters are the dead letters of a queue, with their values. The embedded
// [dlq.Letters] has what needs no value: Count, Replay, ReplayAll, Purge and
// Retain, all of this queue alone. It is a value without a connection, immutable
// and safe for concurrent use.
type DeadLetters[T any] struct {
	dlq.Letters
	queue Queue[T]
}

// DeadLetter is a dead letter with its decoded value.
type DeadLetter[T any] struct {
	dlq.Letter
	// Value is the decoded payload; zero where Err is set.
	Value T
	// Err says why the payload does not decode, as the queue's codecs are now.
	// It is not the error that the message failed with: that is Letter.Error.
	Err error
}

// DeadLetters are those of this queue. What is wrong with the queue comes back
// from every call.
func (q Queue[T]) DeadLetters() DeadLetters[T] {
	return DeadLetters[T]{Letters: dlq.Of(q.bytes), queue: q}
}

// List returns a page of the letters that the filter selects, as
// [dlq.Letters.List] does, those that do not decode among the others.
func (d DeadLetters[T]) List(ctx context.Context, db dlq.DB, f dlq.Filter, p dlq.Page) ([]DeadLetter[T], error) {
	letters, err := d.Letters.List(ctx, db, f, p)
	if err != nil {
		return nil, err
	}
	list := make([]DeadLetter[T], len(letters))
	for i, l := range letters {
		list[i] = d.lift(l)
	}
	return list, nil
}

// Get reads one letter. It is [dlq.ErrNotFound] where the queue has none with
// this id; that a payload does not decode is in the letter.
func (d DeadLetters[T]) Get(ctx context.Context, db dlq.DB, id int64) (DeadLetter[T], error) {
	l, err := d.Letters.Get(ctx, db, id)
	if err != nil {
		return DeadLetter[T]{}, err
	}
	return d.lift(l), nil
}

func (d DeadLetters[T]) lift(l dlq.Letter) DeadLetter[T] {
	v, err := d.queue.codecs.Decode(l.ContentType(), l.Payload)
	return DeadLetter[T]{Letter: l, Value: v, Err: err}
}

// Fix repairs values on their way back: an option for Replay and ReplayAll.
//
//	letters := orders.Placed.DeadLetters()
//	done, err := letters.ReplayAll(ctx, pool, dlq.Filter{}, letters.Fix(func(o OrderPlaced) (OrderPlaced, error) {
//		o.Currency = cmp.Or(o.Currency, "EUR")
//		return o, nil
//	}))
//
// The value that fix returns is encoded by the codec that the queue writes with,
// and the content-type header says so; all other headers are kept. A letter that
// does not decode, an error of fix, and a value that does not encode, or passes
// the queue's limit, keep that letter where it is, and it is reported. What is
// said at [dlq.Fix] holds; that is also what repairs payloads that do not decode.
func (d DeadLetters[T]) Fix(fix func(T) (T, error)) dlq.ReplayOption {
	if fix == nil {
		return dlq.Fix(nil)
	}
	return dlq.Fix(func(l dlq.Letter) (fixed dlq.Fixed, err error) {
		v, err := d.queue.codecs.Decode(l.ContentType(), l.Payload)
		if err != nil {
			return fixed, err
		}
		if v, err = fix(v); err != nil {
			return fixed, err
		}
		fixed.ContentType = d.queue.codecs.ContentType()
		if fixed.Payload, err = d.queue.codecs.Append(nil, v); err != nil {
			return fixed, err
		}
		return fixed, d.queue.bytes.Fits(fixed.Payload)
	})
}
