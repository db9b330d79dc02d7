package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Hand delivers messages of an outbox in memory one by one, when it is told to, on
// the caller's goroutine: with all that a worker does to them, but no loops. It is
// for package queuetest, and not for concurrent use.
type Hand struct {
	w     *Worker
	lanes []handLane
}

type handLane struct {
	configured
	p     *processor
	store *memory.Store
}

// NewHand takes what [NewMemoryWorker] takes, and checks it in the same way.
func NewHand(m access.Memory, opts ...WorkerOption) (*Hand, error) {
	w, err := NewMemoryWorker(m, opts...)
	if err != nil {
		return nil, err
	}
	h := &Hand{w: w}
	for _, s := range w.subs {
		h.lanes = append(h.lanes, handLane{
			configured: s,
			p:          newProcessor(s, w.base.ground(s.queue.table), w.set.log),
			store:      m.Store(s.queue.table.Names()),
		})
	}
	return h, nil
}

// Queues are those that are subscribed to.
func (h *Hand) Queues() []Queue {
	queues := make([]Queue, len(h.lanes))
	for i, l := range h.lanes {
		queues[i] = l.queue
	}
	return queues
}

// Start runs what a worker runs in the background, as far as it ends.
func (h *Hand) Start(ctx context.Context) error {
	var failed []error
	for _, b := range h.w.set.background {
		if !b.ends {
			failed = append(failed, fmt.Errorf("background %q goes on, and needs a worker to run beside", b.name))
			continue
		}
		if err := b.once(ctx, h.w.base.db(), h.w.set.log); err != nil {
			failed = append(failed, fmt.Errorf("background %q: %w", b.name, err))
		}
	}
	return errors.Join(failed...)
}

// Due is a place in the order of delivery.
type Due struct {
	At time.Time
	ID int64
}

// Compare orders by due time, then by id.
func (d Due) Compare(other Due) int {
	return cmp.Or(d.At.Compare(other.At), cmp.Compare(d.ID, other.ID))
}

// Next is the first message that is, or will be, due; false: there is none.
func (h *Hand) Next() (Due, bool) {
	_, due, ok := h.first()
	return due, ok
}

func (h *Hand) first() (lane *handLane, first Due, ok bool) {
	for i := range h.lanes {
		l := &h.lanes[i]
		at, id, there := l.store.NextPending(l.queue.name)
		if due := (Due{at, id}); there && (!ok || due.Compare(first) < 0) {
			lane, first, ok = l, due, true
		}
	}
	return lane, first, ok
}

// Deliver handles the message that [Hand.Next] told of, and where its handler
// takes several those that are due behind it.
func (h *Hand) Deliver(ctx context.Context) error {
	l, _, ok := h.first()
	if !ok {
		return nil
	}
	if err := l.deliver(ctx); err != nil {
		return fmt.Errorf("deliver from queue %q: %w", l.queue.name, err)
	}
	return nil
}

func (l *handLane) deliver(ctx context.Context) error {
	claim := store.Claim{Queue: l.queue.name, Limit: 1, Token: uuid.New()}
	if l.form.batch != nil || l.form.batchTx != nil {
		claim.Limit = l.set.batchSize
	}
	if l.form.batchTx != nil {
		_, err := l.p.hold(ctx, claim, func(lease.Held) {})
		return err
	}
	claimed, err := l.store.Exchange(ctx, nil, []store.Claim{claim})
	if err != nil {
		return err
	}
	rows := claimed.Batches[0].Messages
	if len(rows) == 0 {
		return nil
	}
	handle := l.p.process
	if l.form.batch != nil {
		handle = l.p.processBatch
	}
	began := l.store.Now() // a handler may move the clock
	outcomes := handle(ctx, slices.Clone(rows))
	var settled, buried []store.Outcome
	var ids []int64
	for i, o := range outcomes {
		ids = append(ids, rows[i].ID)
		o.Lease, o.Ran = rows[i].Lease, l.store.Now().Sub(began)
		switch o.Kind {
		case 0: // it ended in the handler's transaction
		case store.Bury:
			buried = append(buried, o)
		default:
			settled = append(settled, o)
		}
	}
	// What was handled is written down, unless somebody has a row locked for good.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handWait)
	defer cancel()
	for locked := true; locked && err == nil; {
		if err = l.store.Unlocked(ctx, ids...); err != nil {
			break
		}
		var done store.Exchanged
		var left []int64
		if done, err = l.store.Exchange(ctx, settled, nil); err == nil {
			_, left, err = l.store.Bury(ctx, buried)
		}
		locked = len(done.Locked)+len(left) > 0 // just now
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("a transaction has a message locked that was handled, and does not end: %w", err)
	}
	return err
}

// handWait is how long a transaction that has a row locked is waited for.
const handWait = 10 * time.Second
