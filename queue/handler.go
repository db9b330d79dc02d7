package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
)

// Handler handles one message. What it returns decides: nil acknowledges, an
// error asks the retry policy, and [Permanent], [RetryAfter], [Snooze] and
// [Discard] say more. A panic is an error with its stack.
//
// The context ends with [ErrLeaseLost] or [ErrShutdown] as its cause, when going
// on is of no use. Handlers run concurrently.
type Handler func(ctx context.Context, d *Delivery) error

// TxHandler handles one message in a transaction that the worker begins, and
// commits together with the acknowledgement when the handler returns nil: the
// handler's writes on tx, the messages published on it, and the end of the
// message happen together or not at all. On an error or a panic the transaction
// is rolled back, and the error decides as in a [Handler].
//
// The last statement before the commit deletes the row, guarded by its lease.
// Where the lease has gone to another worker meanwhile, nothing is committed.
// Nobody waits for the handler: the row is not locked while it runs.
//
// The transaction is on the pool that the worker was given, at the isolation level
// that is the default there: read committed, unless somebody has changed it.
// Its Commit and Rollback return [ErrTxOwned]; Begin makes a savepoint.
type TxHandler func(ctx context.Context, tx pgx.Tx, d *Delivery) error

// BatchHandler handles several messages at once and returns an outcome for each,
// in their order: what a [Handler] would return for it. A message without an
// outcome, because the slice is too short, has failed with [ErrNoOutcome]: with a
// nil slice all have. So they have when the handler panics.
//
// The messages are one to [BatchSize], oldest first. ctx is about none of them:
// publish with [Delivery.Context] of one to carry its correlation id on.
type BatchHandler func(ctx context.Context, batch []*Delivery) []error

// BatchTxHandler handles several messages in the transaction that also holds
// their rows locked, without a lease, and deletes them: everything is one commit.
// Outcomes are returned as by a [BatchHandler].
//
// One bad message does not take the others with it. When any outcome is an error
// or the handler panics, what it wrote is rolled back to a savepoint, the failed
// messages are put aside with their outcomes, and the handler is called again
// with the rest (with each half, where it cannot be told who failed). So it may
// see a message several times, but only one call's writes are committed.
//
// The transaction lasts as long as the handler and holds back vacuum meanwhile:
// [Timeout] bounds it, and the server ends it when it sits idle for longer. A
// delivery is not counted unless the message fails, so [MaxDeliveries] does not
// see a message that kills its worker. tx is a savepoint: its Commit and
// Rollback return [ErrTxOwned].
type BatchTxHandler func(ctx context.Context, tx pgx.Tx, batch []*Delivery) []error

// ErrNoOutcome is the failure of a message for which a handler of batches
// returned nothing.
var ErrNoOutcome = errors.New("handler returned no outcome for the message")

// ErrTxOwned is returned by Commit and Rollback of a handler's transaction.
var ErrTxOwned = access.ErrTxOwned

// Middleware puts something around a handler: logging, tracing, timing. It is
// called once, when the worker is made; the handler it returns, for each
// message. It sees what the handler returns, an [Undecodable] payload included,
// and may change it.
type Middleware func(next Handler) Handler

// BatchMiddleware is the same for handlers of batches.
type BatchMiddleware func(next BatchHandler) BatchHandler

// chain applies middleware, the first outermost.
func chain[H any, M ~func(H) H](h H, ms []M) H {
	for i := len(ms) - 1; i >= 0; i-- {
		h = ms[i](h)
	}
	return h
}

// guard calls the handler and turns a panic into an error.
func guard(ctx context.Context, h Handler, d *Delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = sound(&PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	return sound(h(ctx, d))
}

// guardBatch calls the handler. A panic comes back as panicked; otherwise there
// is one outcome for each message.
func guardBatch(ctx context.Context, h BatchHandler, batch []*Delivery) (outcomes []error, panicked error) {
	defer func() {
		if r := recover(); r != nil {
			panicked = sound(&PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	outcomes = h(ctx, batch)
	for i := len(outcomes); i < len(batch); i++ {
		outcomes = append(outcomes, fmt.Errorf("%w: %d outcomes for %d messages; each needs one, nil if it is done", ErrNoOutcome, i, len(batch)))
	}
	outcomes = outcomes[:len(batch)]
	for i, err := range outcomes {
		outcomes[i] = sound(err)
	}
	return outcomes, nil
}

// sound is err, or a panic where err panics when it is asked what it wraps, as a nil
// pointer of an error's type does: it is asked more than once, and where nothing
// would catch it.
func sound(err error) (answer error) {
	if err == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			answer = &PanicError{Value: fmt.Sprint(r), Stack: debug.Stack()}
		}
	}()
	var none *noError
	_ = errors.As(err, &none)
	_ = errors.Is(err, none)
	return err
}

// noError is what no error is.
type noError struct{}

func (*noError) Error() string { return "" }
