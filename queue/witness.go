package queue

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Reasons of outcomes that are no dead letters.
const (
	reasonSnoozed   = "snoozed"
	reasonDiscarded = "discarded"
)

// witness makes events of what happens in one outbox. A nil witness does nothing.
type witness struct {
	watchers
	outbox    string
	listening atomic.Int32 // as last told: 1 yes, -1 no, 0 nothing yet
}

var _ lease.Observer = (*witness)(nil)

// of is the witness of an outbox; nil where nobody observes.
func (ws watchers) of(outbox string) *witness {
	if len(ws) == 0 {
		return nil
	}
	return &witness{watchers: ws, outbox: outbox}
}

// Polled implements lease.Observer.
func (w *witness) Polled(took time.Duration, err error) {
	w.tell(Polled{Outbox: w.outbox, Took: took, Err: err})
}

// Fetched implements lease.Observer.
func (w *witness) Fetched(c store.Claim, rows []store.Claimed, took time.Duration, err error) {
	if w == nil {
		return
	}
	e := Fetched{Outbox: w.outbox, Queue: c.Queue, Messages: len(rows), TakenOver: c.ExpiredAfter > 0, Took: took, Err: err}
	if !e.TakenOver && len(rows) > 0 {
		e.Lags = make([]time.Duration, len(rows))
		for i := range rows {
			e.Lags[i] = max(0, rows[i].ClaimedAt.Sub(rows[i].DueAt))
		}
	}
	w.tell(e)
}

// Settled implements lease.Observer.
func (w *witness) Settled(queue string, n int, took time.Duration, err error) {
	w.tell(Settled{Outbox: w.outbox, Queue: queue, Messages: n, Took: took, Err: err})
}

// Lost implements lease.Observer.
func (w *witness) Lost(queue string, id int64, settling bool) {
	w.tell(LeaseLost{Outbox: w.outbox, Queue: queue, ID: id, Settling: settling})
}

// Buried implements lease.Observer.
func (w *witness) Buried(queue string, graves []store.Outcome, took time.Duration, err error) {
	if w == nil {
		return
	}
	var events []DeadLettersWritten // a few: one for each reason
next:
	for _, g := range graves {
		for i := range events {
			if events[i].Reason == g.Reason {
				events[i].Messages++
				continue next
			}
		}
		events = append(events, DeadLettersWritten{
			Outbox: w.outbox, Queue: queue, Reason: g.Reason, Messages: 1, Took: took, Err: err,
		})
	}
	for _, e := range events {
		w.tell(e)
	}
}

// DrainTimedOut implements lease.Observer.
func (w *witness) DrainTimedOut(cancelled, left int) {
	w.tell(DrainTimedOut{Outbox: w.outbox, Cancelled: cancelled, LeftBehind: left})
}

// Listening implements lease.Observer.
func (w *witness) Listening(up bool) {
	state := int32(-1)
	if up {
		state = 1
	}
	if w.listening.Swap(state) != state {
		w.tell(Listening{Outbox: w.outbox, Up: up})
	}
}

// endListening tells that what was told of listening holds no longer. It is called once
// nothing listens any more.
func (w *witness) endListening() {
	if w != nil && w.listening.Load() != 0 {
		w.tell(Listening{Outbox: w.outbox, Ended: true})
	}
}

// process tells of what goes through a Process.
func (w *witness) process(queue string, p lease.Process) lease.Process {
	if w == nil {
		return p
	}
	return func(ctx context.Context, rows []store.Claimed) []store.Outcome {
		w.dispatched(queue, len(rows))
		began := time.Now()
		outcomes := p(ctx, rows)
		took := time.Since(began)
		for i := range outcomes {
			outcomes[i].ID = rows[i].ID
		}
		w.handled(queue, outcomes, took)
		return outcomes
	}
}

func (w *witness) dispatched(queue string, n int) {
	if w != nil {
		w.tell(Dispatched{Outbox: w.outbox, Queue: queue, Messages: n})
	}
}

// handled tells of the outcomes of one call.
func (w *witness) handled(queue string, outcomes []store.Outcome, took time.Duration) {
	if w == nil {
		return
	}
	var events []Handled // one for each outcome and reason
next:
	for i := range outcomes {
		o := &outcomes[i]
		outcome, reason := decided(o)
		for j := range events {
			if e := &events[j]; e.Outcome == outcome && e.Reason == reason {
				e.IDs = append(e.IDs, o.ID)
				continue next
			}
		}
		events = append(events, Handled{
			Outbox: w.outbox, Queue: queue, Outcome: outcome, Reason: reason, IDs: []int64{o.ID}, Took: took,
		})
	}
	for _, e := range events {
		w.tell(e)
	}
}

// handledHeld tells of what a held transaction did: outcomes that were committed,
// or, where there are none, rows that were let go.
func (w *witness) handledHeld(queue string, rows []store.Claimed, outcomes []store.Outcome, took time.Duration) {
	if w == nil {
		return
	}
	if outcomes == nil {
		outcomes = make([]store.Outcome, len(rows))
		for i := range rows {
			outcomes[i] = store.Outcome{Lease: rows[i].Lease, Kind: store.Release}
		}
	}
	w.handled(queue, outcomes, took)
	var graves []store.Outcome
	for _, o := range outcomes {
		if o.Kind == store.Bury {
			graves = append(graves, o)
		}
	}
	w.Buried(queue, graves, 0, nil)
}

// decided names an outcome.
func decided(o *store.Outcome) (_ Outcome, reason string) {
	switch {
	case o.Kind == store.Retry:
		return Retried, ""
	case o.Kind == store.Release && o.Reason == reasonSnoozed:
		return Snoozed, ""
	case o.Kind == store.Release:
		return Released, ""
	case o.Kind == store.Ack && o.Reason == reasonDiscarded:
		return Discarded, ""
	case o.Reason != "": // buried, or deleted where dead letters are off
		return Terminal, o.Reason
	}
	return Acked, ""
}
