package lease

import (
	"context"
	"log/slog"
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
	// Looked is how long it took to hold what there was, without the wait for a
	// connection.
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
//
// A goroutine that is free waits to be called: by a notification, by one that has
// found more than it takes, or by the alarm. What a hold has found is known before
// its handlers run, so that the alarm does not wait for them.
type holder struct {
	Queue
	called  chan struct{} // buffered for each goroutine
	running atomic.Int32  // calls of Hold that have not returned
	failing atomic.Bool   // the last call failed
	vitals  vitals

	mu sync.Mutex // guards what follows, which all goroutines share
	attention
	floor   floor
	over    passedOver
	session int64       // the listening session that knows whether the queue sleeps; zero: none
	polled  time.Time   // when the last look was made
	expired bool        // there are expired leases to take over
	alarm   *time.Timer // calls a goroutine
	wake    time.Time   // when it does
	told    time.Time   // when a hold last told what it had found
}

func newHolder(q Queue) *holder {
	h := &holder{Queue: q, attention: newAttention(), called: make(chan struct{}, q.Concurrency)}
	h.alarm = time.AfterFunc(0, h.call)
	return h
}

// call wakes one goroutine; one that finds much wakes another.
func (h *holder) call() { nudge(h.called) }

// hold handles what is due until ctx ends; work is the context of handlers,
// which lasts through the grace period.
func (e *Engine) hold(ctx, work context.Context, h *holder) {
	defer h.alarm.Stop() // it is the last that counts
	var (
		backoff time.Duration
		expired bool // this turn is for expired leases, and the next is not
		again   bool // without being called
	)
	for ctx.Err() == nil {
		if !again {
			select {
			case <-ctx.Done():
				return
			case <-h.called:
			}
		}
		again = true
		began := time.Now()
		held, due := Held{}, true
		if h.polls(began, e.pollEvery()) {
			held, due = e.lookHeld(ctx, h)
		}
		if ctx.Err() != nil {
			return
		}
		c := store.Claim{Queue: h.Name, Limit: h.Batch} // a look is a sweep that finds nothing
		var err error
		if due {
			h.begin(&c, began, !expired)
			h.running.Add(1)
			held, err = h.Hold(work, c, func(held Held) { e.found(h, c, held, began) })
			h.running.Add(-1)
		}
		expired = c.ExpiredAfter > 0
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			backoff = e.heldFailed(h, c, err, backoff)
			wait(ctx, backoff/2+rand.N(backoff/2+1))
			continue
		case h.failing.Swap(false):
			e.log.Info("delivery goes on", slog.String("queue", h.Name))
		}
		backoff = 0
		if held.LetGo {
			h.lost(c)
		}
		if expired { // what is pending has the next turn
			h.vitals.well()
			continue
		}
		if held.Messages == 0 {
			e.found(h, c, held, began)
		}
		// What was just put off is not in NextDue: only an empty hold may sleep.
		again = e.attend(ctx, h, held) || held.Messages > 0
	}
}

// polls reports whether a look is due at now; it is the caller's then. The alarm
// stays set: what follows may hang.
func (h *holder) polls(now time.Time, every time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	due := !now.Before(h.polled.Add(every))
	if due {
		h.polled = now
	}
	if !now.Before(h.wake) {
		h.ring(h.polled.Add(every))
	}
	return due
}

// lookHeld asks, for a statement instead of two transactions, whether there is
// anything to hold. Where holds fail, or the look does, it is for holds to find out.
func (e *Engine) lookHeld(ctx context.Context, h *holder) (next Held, due bool) {
	began := time.Now()
	seen := []store.Outlook{{Expired: true}}
	if !h.failing.Load() {
		err := e.bounded(ctx, func(ctx context.Context) error {
			answer, err := e.cfg.Store.Look(ctx, []store.Watch{{Queue: h.Name, ExpiredAfter: h.Lease}})
			if err == nil {
				seen = answer
			}
			return err
		})
		e.tellLook(time.Since(began), err)
	}
	took := time.Since(began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expired = h.expired || seen[0].Expired
	next = Held{Looked: took, NextDue: seen[0].NextDue, HasNext: seen[0].HasNext}
	return next, h.expired || next.HasNext && next.NextDue <= 0
}

// begin says where a claim at now begins, or that it is for expired leases.
func (h *holder) begin(c *store.Claim, now time.Time, mayExpired bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if mayExpired && h.expired {
		h.expired, c.ExpiredAfter = false, h.Lease
		return
	}
	c.Since = h.floor.since(now)
}

// found takes in what a claim that began at began has found, or that there was
// nothing, and sets the alarm for what comes next.
func (e *Engine) found(h *holder, c store.Claim, held Held, began time.Time) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if held.More {
		h.call()
	}
	if c.ExpiredAfter > 0 {
		h.expired = h.expired || held.More
		return
	}
	h.vitals.seen(now, held.Lag)
	h.attention.took(held.Messages, now)
	h.over.took(c, held.Messages, held.PassedOver)
	sweep := c.Since.IsZero()
	if held.Messages > 0 {
		h.floor.moved(sweep, held.More, held.Newest)
	}
	if sweep {
		h.floor.sweptAt(began, now, held.Looked)
	}
	if held.More {
		return
	}
	wake := h.polled.Add(e.pollEvery())
	sooner := func(at time.Time) {
		if at.Before(wake) {
			wake = at
		}
	}
	if held.HasNext {
		sooner(began.Add(held.NextDue))
	}
	if !sweep { // what is below the floor is still unseen
		sooner(h.floor.nextSweep())
	}
	if held.PassedOver {
		sooner(now.Add(h.over.next()))
	}
	if h.attentive && e.tells() {
		sooner(now.Add(attentivePause))
	}
	if began.Before(h.told) && now.Before(h.wake) { // what is known may be newer
		sooner(h.wake)
	}
	h.told = now
	h.ring(wake)
}

// ring sets the alarm. The caller holds the lock.
func (h *holder) ring(at time.Time) {
	h.wake = at
	h.alarm.Reset(time.Until(at))
}

// ringSooner sets the alarm unless it is set for earlier. The caller holds the lock.
func (h *holder) ringSooner(at time.Time) {
	if at.Before(h.wake) || !time.Now().Before(h.wake) {
		h.ring(at)
	}
}

// lost makes the next claim a sweep: the database has the rows of one that failed,
// or that let them go.
func (h *holder) lost(c store.Claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.ExpiredAfter > 0 {
		h.expired = true
		return
	}
	h.floor.forget(time.Now())
}

// untold has publishers told anew that the queue sleeps: the database may be another
// by now.
func (h *holder) untold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = 0
}

// tells reports whether publishers are told who sleeps, and so notify nobody else.
func (e *Engine) tells() bool { return e.cfg.Sleeper != nil && e.listening.Load() }

// attend tells publishers when the queue, of which a hold has just come back, falls
// asleep or wakes. It returns true where there must be another hold at once, for
// what was committed before the queue fell asleep.
func (e *Engine) attend(ctx context.Context, h *holder, held Held) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !e.tells() || ctx.Err() != nil {
		return false
	}
	if heard := e.heard.Load(); heard != h.session {
		h.session, h.asleep = heard, false
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), dozeTimeout)
	defer cancel()
	name := []string{h.Name}
	switch {
	case h.rouses():
		if e.cfg.Sleeper.Rouse(call, name) == nil {
			h.awake()
		}
		return false
	case held.More || !h.dozes():
		return false
	case time.Now().Before(h.askAt):
		h.ringSooner(h.askAt)
		return false
	}
	may, err := e.cfg.Sleeper.Doze(call, name)
	if err != nil { // the session is gone; until there is another, we poll
		h.ringSooner(time.Now().Add(longestGap))
		return false
	}
	if h.answered(may[0], time.Now()); !h.asleep {
		h.ringSooner(h.askAt)
	}
	return h.asleep
}

// heldFailed tells of a failure, the first in a row of all the goroutines for
// people to see, and returns how long to wait.
func (e *Engine) heldFailed(h *holder, c store.Claim, err error, backoff time.Duration) time.Duration {
	h.vitals.failed(e.cfg.Explain(err))
	h.lost(c)
	h.untold()
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

// wait returns when d has passed, or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
