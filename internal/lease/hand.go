package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Causes with which the context of running work is cancelled.
var (
	// ErrLost says that the lease went to somebody else, or ran out before it
	// could be extended. Nothing that the work decides is written any more.
	ErrLost = errors.New("lease lost")
	// ErrShutdown says that the worker stops and the grace period is over.
	ErrShutdown = errors.New("worker is shutting down")
)

// hand is a claimed message on its way through the engine. Each has memory of its
// own: one that stays, as a dead letter may, must not keep all of its claim.
type hand struct {
	store.Lease
	lane *lane
	row  [1]store.Claimed // the work; empty once it is decided
	// counted says that the lane counts it among those in hand. The pump's.
	counted bool

	// Guarded by hands.mu.
	renewed time.Time               // when the lease was last known to start
	cancel  context.CancelCauseFunc // of the running work; nil before and after
	lost    bool
	settled bool // its outcome is in the ledger, or it needs none
}

// hands is everything claimed and not yet written back: what the keeper keeps.
type hands struct {
	mu  sync.Mutex
	all map[*hand]struct{}
}

func newHands() *hands { return &hands{all: map[*hand]struct{}{}} }

// take registers the rows of one claim. since is when the claim was sent: the
// lease cannot have begun before.
func (hs *hands) take(l *lane, rows []store.Claimed, since time.Time) []*hand {
	out := make([]*hand, len(rows))
	for i := range rows {
		h := &hand{Lease: rows[i].Lease, lane: l, counted: true, renewed: since}
		h.row[0] = rows[i]
		out[i] = h
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range out {
		hs.all[h] = struct{}{}
	}
	return out
}

// outlived finds the leases of ours that had run out, as rows show that were
// claimed for that reason, before the keeper noticed.
func (hs *hands) outlived(rows []store.Claimed) (lost []*hand) {
	again := make(map[int64]struct{}, len(rows))
	for i := range rows {
		again[rows[i].ID] = struct{}{}
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for h := range hs.all {
		if _, ours := again[h.ID]; ours && !h.settled && !h.lost {
			lost = append(lost, h)
		}
	}
	lose(lost)
	return lost
}

// begin marks the work as running under cancel. It parts what still holds its
// lease from what has lost it. late are those of the lost that ran out unseen: the
// answer to the claim was that late, or this process was stopped meanwhile.
func (hs *hands) begin(work []*hand, now time.Time, cancel context.CancelCauseFunc) (kept, lost, late []*hand) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	kept = work[:0]
	for _, h := range work {
		if !h.lost && now.Sub(h.renewed) >= h.lane.Lease {
			h.lost = true
			late = append(late, h)
		}
		if h.lost {
			h.settled = true
			lost = append(lost, h)
			continue
		}
		h.cancel = cancel
		kept = append(kept, h)
	}
	return kept, lost, late
}

// settle marks a message as decided: from here on the keeper no longer judges
// it, for its row may be gone at any moment. It reports whether the lease was
// lost before.
func (hs *hands) settle(h *hand) (lost bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.settled, h.cancel = true, nil
	return h.lost
}

// drop forgets messages that need no more keeping.
func (hs *hands) drop(gone ...*hand) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range gone {
		delete(hs.all, h)
	}
}

// running lists what is being worked on.
func (hs *hands) running() []*hand {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	var out []*hand
	for h := range hs.all {
		if h.cancel != nil {
			out = append(out, h)
		}
	}
	return out
}
