package lease

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Held answers a [Queue]'s Hold.
type Held struct {
	// More says that there may be more to handle right now.
	More bool
	// Looked is how long it took to hold what there was.
	Looked time.Duration
	// Messages is how many were held, Lag how late the oldest of them was, and
	// Newest the due time of the last one.
	Messages int
	Lag      time.Duration
	Newest   time.Time
	// LetGo says that they were not settled, and are where they were.
	LetGo bool
	// NextDue is how long from now the next row becomes due, and HasNext whether
	// there is one.
	NextDue time.Duration
	HasNext bool
	// PassedOver says that something that is due was locked by somebody else.
	PassedOver bool
}

// holder serves a queue whose messages are handled in the transaction that holds
// their rows: no lease is written, so there is nothing to keep, to settle or to
// hand back. It shares with the lanes how it is woken.
type holder struct {
	Queue
	called  chan struct{} // buffered for each goroutine
	running atomic.Int32  // calls of Hold that have not returned
	failing atomic.Bool   // the last call failed
	vitals  vitals

	watching atomic.Bool // one of the goroutines looks again soon

	mu sync.Mutex // guards what follows, which all goroutines share
	attention
	floor   floor
	session int64 // the listening session that knows whether the queue sleeps; zero: none
	over    passedOver
	again   *time.Timer // calls for what was passed over; nil: not set
}

func newHolder(q Queue) *holder {
	return &holder{Queue: q, attention: newAttention(), called: make(chan struct{}, q.Concurrency)}
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
		expired bool      // this turn is for expired leases, and the next is not
	)
	defer h.lookNoMore()
	for ctx.Err() == nil {
		now := time.Now()
		c := store.Claim{Queue: h.Name, Limit: h.Batch}
		expired = !expired && !now.Before(polled.Add(e.pollEvery()))
		if expired {
			polled, c.ExpiredAfter = now, h.Lease
		} else {
			c.Since = h.since(now)
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
		case h.failing.Swap(false):
			e.log.Info("delivery goes on", slog.String("queue", h.Name))
		}
		backoff = 0
		if expired { // what is pending has the next turn
			h.vitals.well()
			if held.More {
				polled = time.Time{}
			}
			continue
		}
		h.vitals.seen(time.Now(), held.Lag)
		below := h.took(c, held, now.Add(held.Looked))
		h.lookAgain(c, held)
		soon := e.attend(ctx, h, held)
		if held.More {
			h.call()
			continue
		}
		if soon == 0 || held.Messages > 0 {
			continue // what was just put off is not in NextDue: only an empty hold may sleep
		}
		wake = polled.Add(e.pollEvery())
		if next := now.Add(held.NextDue); held.HasNext && next.Before(wake) {
			wake = next
		}
		if !below.IsZero() && below.Before(wake) { // what is below the floor is still unseen
			wake = below
		}
		if soon < time.Until(wake) && h.watching.CompareAndSwap(false, true) { // one is enough
			wait(ctx, h.called, soon)
			h.watching.Store(false)
			continue
		}
		wait(ctx, h.called, time.Until(wake))
	}
}

// since is where the next claim begins; zero for a sweep.
func (h *holder) since(now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor.since(now)
}

// took takes in what a claim held, which was known at now. It returns when to look
// for what lies below where it began; zero where nothing does.
func (h *holder) took(c store.Claim, held Held, now time.Time) (below time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sweep := c.Since.IsZero()
	switch {
	case held.LetGo:
		h.floor.forget()
	case held.Messages > 0:
		h.floor.moved(sweep, held.More, held.Newest)
	}
	if sweep {
		h.floor.sweptAt(now, held.Looked)
		return time.Time{}
	}
	return h.floor.nextSweep()
}

// lost makes the next claim a sweep: the database has the rows of one that failed.
// It may be another by now, whose publishers are told anew that the queue sleeps.
func (h *holder) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor.forget()
	h.session = 0
}

// lookAgain sees to it that one of the goroutines holds again, in a while, where
// the last hold found nothing but rows that others have locked. No goroutine waits
// for that, as it could have something else to do when the time comes.
func (h *holder) lookAgain(c store.Claim, held Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over.took(c, held.Messages, held.PassedOver)
	if !held.PassedOver || held.Messages > 0 || h.again != nil { // who found something holds again at once
		return
	}
	h.again = time.AfterFunc(h.over.next(), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.again = nil
		h.call()
	})
}

// lookNoMore ends that.
func (h *holder) lookNoMore() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.again != nil {
		h.again.Stop()
		h.again = nil
	}
}

// attend keeps the queue's attention, and tells publishers when it falls asleep
// or wakes. It returns when to hold again at the latest, if not much is known to
// be there: zero is at once, for what was committed before the queue fell asleep.
func (e *Engine) attend(ctx context.Context, h *holder, held Held) time.Duration {
	const whenever = time.Duration(math.MaxInt64)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attention.took(held.Messages, time.Now())
	if e.cfg.Sleeper == nil || !e.listening.Load() || ctx.Err() != nil {
		return whenever
	}
	if heard := e.heard.Load(); heard != h.session {
		h.session, h.asleep = heard, false
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), dozeTimeout)
	defer cancel()
	name := []string{h.Name}
	switch {
	case h.rouses():
		h.asleep = e.cfg.Sleeper.Rouse(call, name) != nil
		return attentivePause
	case h.attentive:
		return attentivePause
	case held.More || !h.dozes():
		return whenever
	}
	may, err := e.cfg.Sleeper.Doze(call, name)
	if err != nil { // the session is gone; until there is another, we poll
		return longestGap
	}
	if h.asleep = may[0]; h.asleep {
		return 0
	}
	return attentivePause
}

// heldFailed tells of a failure, the first in a row of all the goroutines for
// people to see, and returns how long to wait.
func (e *Engine) heldFailed(h *holder, err error, backoff time.Duration) time.Duration {
	h.vitals.failed(e.cfg.Explain(err))
	h.lost()
	level := slog.LevelDebug
	if !h.failing.Swap(true) {
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
