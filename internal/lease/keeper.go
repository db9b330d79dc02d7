package lease

import (
	"context"
	"log/slog"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// A lease is extended once a third of it has passed, and looked at four times
// in its life, so that two tries can fail before it runs out.
const (
	renewAfter = 3
	looksALife = 6
)

// keep extends the leases of everything in hand until ctx ends.
func (e *Engine) keep(ctx context.Context) {
	if len(e.lanes) == 0 {
		return
	}
	shortest := e.lanes[0].Lease
	for _, l := range e.lanes {
		shortest = min(shortest, l.Lease)
	}
	every := max(shortest/looksALife, time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		e.renew(ctx, every)
	}
}

// renew extends what is old enough, in one statement. It waits for the answer
// until the first lease runs out, so that work goes on no longer than the next
// look after that; every is the time between looks.
func (e *Engine) renew(ctx context.Context, every time.Duration) {
	now := time.Now()
	old, expiry := e.hands.old(now)
	if len(old) == 0 {
		return
	}
	timeout := min(max(expiry.Sub(now), every), looksALife/2*every)
	leases := make([]store.Lease, len(old))
	for i, h := range old {
		leases[i] = h.Lease
	}
	call, cancel := context.WithTimeout(ctx, timeout)
	held, err := e.cfg.Store.Extend(call, leases)
	cancel()
	if err != nil {
		if ctx.Err() == nil {
			e.log.Warn("cannot extend leases", slog.Int("messages", len(old)), e.failed(err))
		}
		e.judge(e.hands.overdue(old, time.Now()))
		return
	}
	e.judge(e.hands.renewed(old, held, now))
}

// judge says what is to be said of lost leases; their work has been cancelled.
func (e *Engine) judge(lost []*hand) {
	for _, h := range lost {
		e.log.Warn("lease lost; the handler is cancelled", slog.String("queue", h.lane.Name), slog.Int64("message_id", h.ID))
		e.tellLost(h, false)
	}
}

// old lists what is due for an extension, and says when the first of these
// leases runs out.
func (hs *hands) old(now time.Time) (out []*hand, expiry time.Time) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for h := range hs.all {
		if h.lost || now.Sub(h.renewed) < h.lane.Lease/renewAfter {
			continue
		}
		if at := h.renewed.Add(h.lane.Lease); len(out) == 0 || at.Before(expiry) {
			expiry = at
		}
		out = append(out, h)
	}
	return out, expiry
}

// renewed takes in the answer to an extension that was asked for at asked, and
// returns what was lost. A message that has been decided meanwhile is not
// judged: its row is gone because we wrote it.
func (hs *hands) renewed(asked []*hand, held []int64, at time.Time) (lost []*hand) {
	ok := make(map[int64]struct{}, len(held))
	for _, id := range held {
		ok[id] = struct{}{}
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range asked {
		if _, still := ok[h.ID]; still {
			h.renewed = at
		} else if !h.settled && !h.lost {
			lost = append(lost, h)
		}
	}
	lose(lost)
	return lost
}

// overdue finds the leases that must be taken for lost because they could not
// be extended in time.
func (hs *hands) overdue(asked []*hand, now time.Time) (lost []*hand) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for _, h := range asked {
		if !h.settled && !h.lost && now.Sub(h.renewed) >= h.lane.Lease {
			lost = append(lost, h)
		}
	}
	lose(lost)
	return lost
}

// lose marks leases as lost and cancels the work under them; hands.mu is held.
func lose(lost []*hand) {
	for _, h := range lost {
		h.lost = true
		if h.cancel != nil {
			h.cancel(ErrLost)
		}
	}
}
