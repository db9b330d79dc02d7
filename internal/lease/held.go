package lease

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Held answers a [Queue]'s Hold.
type Held struct {
	// More says that there may be more to handle right now.
	More bool
	// NextDue is how long from now the next row becomes due, and HasNext whether
	// there is one.
	NextDue time.Duration
	HasNext bool
}

// holder serves a queue whose messages are handled in the transaction that holds
// their rows: no lease is written, so there is nothing to keep, to settle or to
// hand back. It shares with the lanes how it is woken.
type holder struct {
	Queue
	called  chan struct{} // buffered for each goroutine
	running atomic.Int32  // calls of Hold that have not returned
}

func newHolder(q Queue) *holder {
	return &holder{Queue: q, called: make(chan struct{}, q.Concurrency)}
}

// call wakes one goroutine; one that finds much wakes another.
func (h *holder) call() { nudge(h.called) }

// hold handles what is due until ctx ends; work is the context of handlers,
// which lasts through the grace period.
func (e *Engine) hold(ctx, work context.Context, h *holder) {
	var (
		backoff time.Duration
		polled  time.Time // when expired leases were last looked for
		wake    time.Time // when something becomes due; zero: not known
	)
	for ctx.Err() == nil {
		now := time.Now()
		c := store.Claim{Queue: h.Name, Limit: h.Batch}
		if expired := !now.Before(polled.Add(e.pollEvery())); expired {
			polled, c.ExpiredAfter = now, h.Lease
		}
		h.running.Add(1)
		held, err := h.Hold(work, c)
		h.running.Add(-1)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			backoff = e.heldFailed(h, err, backoff)
			wait(ctx, nil, backoff/2+rand.N(backoff/2+1))
			continue
		case backoff > 0:
			backoff = 0
			e.log.Info("delivery goes on", slog.String("queue", h.Name))
		}
		if c.ExpiredAfter > 0 { // what is pending has the next turn
			if held.More {
				polled = time.Time{}
			}
			continue
		}
		if held.More {
			h.call()
			continue
		}
		wake = polled.Add(e.pollEvery())
		if next := time.Now().Add(held.NextDue); held.HasNext && next.Before(wake) {
			wake = next
		}
		wait(ctx, h.called, time.Until(wake))
	}
}

// heldFailed tells of a failure, the first in a row for people to see, and
// returns how long to wait.
func (e *Engine) heldFailed(h *holder, err error, backoff time.Duration) time.Duration {
	level := slog.LevelDebug
	if backoff == 0 {
		level = slog.LevelError
	}
	backoff = min(maxBackoff, max(firstBackoff, 2*backoff))
	e.log.Log(context.Background(), level, "cannot handle messages in a transaction; trying again",
		slog.String("queue", h.Name), e.failed(err), slog.Duration("backoff", backoff))
	return backoff
}

// pollEvery is how often to look for what no notification told.
func (e *Engine) pollEvery() time.Duration {
	if e.listening.Load() {
		return e.cfg.Poll
	}
	return e.cfg.BlindPoll
}

// wait returns when d has passed, when called, or when ctx ends.
func wait(ctx context.Context, called <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-called:
	case <-t.C:
	}
}
