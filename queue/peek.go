package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// MessageState is what a message waits for. See [QueueStats] for what counts as which.
type MessageState uint8

const (
	// StateWaiting is every message that no worker has: due, scheduled or
	// retrying. It is what a filter selects that says nothing; no message that is
	// shown has it.
	StateWaiting MessageState = iota
	// StateDue waits for a worker.
	StateDue
	// StateScheduled waits for its time, and has never failed.
	StateScheduled
	// StateRetrying waits for its time, and has failed before.
	StateRetrying
	// StateLeased is with a worker, or was with one that died.
	StateLeased
)

// String is "due" and so on.
func (s MessageState) String() string {
	names := [...]string{"waiting", "due", "scheduled", "retrying", "leased"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Peeked is a message that is in the table, as it was when it was read. It is a
// copy: nothing that is done to it changes the table.
type Peeked struct {
	ID    int64
	Queue string
	// TimerID is empty for a message that is no timer.
	TimerID string
	State   MessageState
	Payload []byte
	// Headers are all headers, the envelope's included, nil where there are none.
	// A value that is no string in the table is given as its JSON text.
	Headers map[string]string
	// CreatedAt and DueAt are when it was published and when it is due, for the
	// first time or again. LeasedAt is when it was claimed or its lease extended,
	// FirstAttemptAt and LastAttemptAt are of the runs that failed. All are zero
	// where there is no such time, and where the table holds an infinity, which
	// others may write.
	CreatedAt, DueAt, LeasedAt, FirstAttemptAt, LastAttemptAt time.Time
	// Attempts counts the runs that failed, Deliveries the claims.
	Attempts, Deliveries int64
}

// ContentType says how the payload is encoded, "" where nothing says.
func (p Peeked) ContentType() string { return p.Headers[HeaderContentType] }

// CorrelationID ties together the messages of one story.
func (p Peeked) CorrelationID() string { return p.Headers[HeaderCorrelationID] }

// Page says which part of a list is wanted.
type Page struct {
	// Size is the most messages of a page. Zero is 50; below zero and above 1,000
	// are [ErrInvalid].
	Size int
	// After is where the page begins: what the page before said comes next. Empty
	// is the first page.
	After string
}

const (
	peekSize    = 50
	maxPeekSize = 1000
	// peekWalk is how many messages a page looks at, beyond its size, and
	// peekPass how many where it passes over some.
	peekWalk = 1000
	peekPass = 10_000
	// peekBytes is where the payloads of a page end.
	peekBytes = 16 << 20
)

// Peek shows messages of the queue in a state, a page of them, without taking them:
// it locks and writes nothing, and no worker notices. Messages that wait come by
// due time, then by id; leased ones by the time of their lease, the oldest first.
//
//	for after := ""; ; {
//		list, next, err := orders.Peek(ctx, pool, queue.StateWaiting, queue.Page{After: after})
//		...
//		if after = next; after == "" {
//			break
//		}
//	}
//
// next is a short text with no meaning to anybody else, empty where nothing comes
// after. Paging goes by position, so messages that come, go or move in between push
// no other off the page; one that moves can be seen twice or not at all.
//
// A page costs the same wherever it is, and however many messages there are. So it
// can be short, or empty, and not the last: it ends before its payloads pass 16 MiB
// together, if it has one already, and it looks at about 10,000 messages at most, of
// which StateScheduled and StateRetrying pass over some. And of messages that share
// one due time, as those of a bulk publish do, more than about 1,000 are not sorted:
// they come by id from somewhere among them on, then those before.
//
// Errors name the queue, and wrap [ErrInvalid], [ErrInvalidName], [ErrNoTransaction]
// where db is nil, [ErrNoTable], or what the database said. The role needs SELECT.
// It is as safe for concurrent use as db is.
func (q Queue) Peek(ctx context.Context, db Reader, state MessageState, p Page) (list []Peeked, next string, err error) {
	list, next, err = q.peek(ctx, db, state, p)
	if err != nil {
		return nil, "", fmt.Errorf("peek at queue %q: %w", q.name, err)
	}
	return list, next, nil
}

func (q Queue) peek(ctx context.Context, db Reader, state MessageState, p Page) (list []Peeked, next string, err error) {
	look := postgres.Peeked{Queue: q.name, Bytes: peekBytes, Size: cmp.Or(p.Size, peekSize)}
	look.Walk = look.Size + peekWalk
	if look.Size < 0 || look.Size > maxPeekSize {
		err = fmt.Errorf("%w: a page of %d, it may be 1 to %d", ErrInvalid, p.Size, maxPeekSize)
	}
	if state > StateLeased {
		err = errors.Join(err, fmt.Errorf("%w: there is no %v", ErrInvalid, state))
	}
	if p.After != "" {
		var ok bool
		if look.Beyond, ok = postgres.ParsePeekPlace(p.After); !ok {
			err = errors.Join(err, fmt.Errorf("%w: %.50q is not what a page said comes next", ErrInvalid, p.After))
		}
	}
	if err := errors.Join(q.Err(), access.CheckReader(db), err); err != nil {
		return nil, "", err
	}
	look.Leased = state == StateLeased
	switch state {
	case StateDue:
		look.Due = new(true)
	case StateScheduled, StateRetrying:
		look.Walk = peekPass
		look.Due, look.Failed = new(false), new(state == StateRetrying)
	}
	rows, at, beyond, err := q.table.Peek(ctx, db, look)
	if err != nil {
		return nil, "", access.ExplainRead(q.table, err)
	}
	list = make([]Peeked, len(rows))
	for i := range rows {
		list[i] = newPeeked(&rows[i], at)
	}
	if beyond != nil {
		next = beyond.String()
	}
	return list, next, nil
}

// PeekID shows one message of the queue, in whatever state; false: the queue has
// none with this id, or not any more. See [Queue.Peek].
func (q Queue) PeekID(ctx context.Context, db Reader, id int64) (Peeked, bool, error) {
	row, at, err := func() (row *store.StoredTimer, at time.Time, err error) {
		if err := errors.Join(q.Err(), access.CheckReader(db)); err != nil {
			return nil, at, err
		}
		row, at, err = q.table.PeekID(ctx, db, q.name, id)
		return row, at, access.ExplainRead(q.table, err)
	}()
	if err != nil {
		return Peeked{}, false, fmt.Errorf("peek at message %d of queue %q: %w", id, q.name, err)
	}
	if row == nil {
		return Peeked{}, false, nil
	}
	return newPeeked(row, at), true, nil
}

func newPeeked(r *store.StoredTimer, at time.Time) Peeked {
	p := Peeked{
		ID: r.ID, Queue: r.Queue, TimerID: r.TimerID, Payload: r.Payload, Headers: DecodeHeaders(r.Headers),
		CreatedAt: r.CreatedAt, DueAt: r.DueAt, LeasedAt: r.ClaimedAt, FirstAttemptAt: r.FirstAttempt, LastAttemptAt: r.LastAttempt,
		Attempts: r.Attempts, Deliveries: r.Deliveries,
	}
	switch {
	case r.Leased:
		p.State = StateLeased
	case r.Due == "-infinity" || r.Due != "infinity" && !p.DueAt.After(at):
		p.State = StateDue
	case r.Attempts > 0:
		p.State = StateRetrying
	default:
		p.State = StateScheduled
	}
	return p
}
