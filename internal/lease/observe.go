package lease

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Observer is told what an engine does and no [Process] sees. Its methods are
// called from the engine's goroutines, concurrently: they return at once, do not
// panic, and keep nothing of a slice. Errors are explained, or nil.
type Observer interface {
	// Polled tells of a look at what is due.
	Polled(took time.Duration, err error)
	// Fetched tells of a claim that came back: with rows, with none, or with an
	// error.
	Fetched(c store.Claim, rows []store.Claimed, took time.Duration, err error)
	// Settled tells that n outcomes of a queue were sent to the store. After an
	// error they are sent again.
	Settled(queue string, n int, took time.Duration, err error)
	// Lost tells of a message whose lease is lost: settling, when its outcome
	// found no row, else while it was in hand. Each is told once.
	Lost(queue string, id int64, settling bool)
	// Buried tells of dead letters of a queue that were written. After an error
	// they are tried again.
	Buried(queue string, graves []store.Outcome, took time.Duration, err error)
	// DrainTimedOut tells that the grace period ended with so many messages still
	// being handled, and how many of them ignored it that they were cancelled.
	DrainTimedOut(cancelled, left int)
	// Listening tells whether notifications come, perhaps again and again.
	Listening(yes bool)
}

// tellLook tells of a look that came back.
func (e *Engine) tellLook(took time.Duration, err error) {
	if o := e.cfg.Observer; o != nil {
		o.Polled(took, e.cfg.Explain(err))
	}
}

// tellTrip tells of an exchange that came back.
func (p *pump) tellTrip(t *trip, now time.Time) {
	o := p.cfg.Observer
	if o == nil {
		return
	}
	took, err := now.Sub(t.sent), p.cfg.Explain(t.err)
	settled := map[*lane]int{}
	entries, _ := part(t.entries, t.done.Locked) // which are sent again
	for _, en := range entries {
		settled[en.hand.lane]++
	}
	for l, n := range settled {
		o.Settled(l.Name, n, took, err)
	}
	for i, c := range t.claims {
		var rows []store.Claimed
		if err == nil {
			rows = t.done.Batches[i].Messages
		}
		o.Fetched(c, rows, took, err)
	}
}

// tellLost tells of one lost lease.
func (e *Engine) tellLost(h *hand, settling bool) {
	if o := e.cfg.Observer; o != nil {
		o.Lost(h.lane.Name, h.ID, settling)
	}
}

// tellBuried tells of a batch of dead letters, of which those of moved were
// written; after an error, of all.
func (b *burier) tellBuried(batch []entry, moved []int64, took time.Duration, err error) {
	o := b.cfg.Observer
	if o == nil {
		return
	}
	wrote := make(map[int64]struct{}, len(moved))
	for _, id := range moved {
		wrote[id] = struct{}{}
	}
	graves := map[*lane][]store.Outcome{}
	for _, en := range batch {
		if _, ok := wrote[en.outcome.ID]; ok || err != nil {
			graves[en.hand.lane] = append(graves[en.hand.lane], en.outcome)
		}
	}
	for l, list := range graves {
		o.Buried(l.Name, list, took, b.cfg.Explain(err))
	}
}

// tellDrainTimedOut tells of a drain that did not end by itself.
func (e *Engine) tellDrainTimedOut(cancelled, left int) {
	if o := e.cfg.Observer; o != nil {
		o.DrainTimedOut(cancelled, left)
	}
}

// atWork is how many messages are being handled. A call of Hold counts as one:
// how many it has is its own.
func (e *Engine) atWork() int {
	n := len(e.hands.running())
	for _, h := range e.held {
		n += int(h.running.Load())
	}
	return n
}
