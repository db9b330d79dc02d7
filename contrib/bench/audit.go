package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// audit watches over a drain: every message must be handled, and once only, unless a lost lease explains why it came
// again. A worker that is faster but loses a message is not faster.
type audit struct {
	seen    []atomic.Uint64 // a bit for each number
	want    atomic.Int64    // below zero: not known yet
	handled atomic.Int64    // distinct numbers
	again   atomic.Int64    // deliveries beyond the first
	foreign atomic.Int64    // numbers that nobody published
	all     chan struct{}   // closed once every number was handled
	once    sync.Once
}

// newAudit expects the numbers from 0 up to, but without, n.
func newAudit(n int) *audit {
	a := newOpenAudit(n)
	a.expect(n)
	return a
}

// newOpenAudit expects numbers below most; how many, expect says later.
func newOpenAudit(most int) *audit {
	a := &audit{seen: make([]atomic.Uint64, (most+63)/64), all: make(chan struct{})}
	a.want.Store(-1)
	return a
}

// expect says that no numbers from n on will come.
func (a *audit) expect(n int) {
	a.want.Store(int64(n))
	a.finish()
}

// handle notes that a message has reached its handler. Safe for concurrent use.
func (a *audit) handle(number int) {
	if number < 0 || number >= 64*len(a.seen) || (a.want.Load() >= 0 && number >= int(a.want.Load())) {
		a.foreign.Add(1)
		return
	}
	bit := uint64(1) << (number % 64)
	if a.seen[number/64].Or(bit)&bit != 0 {
		a.again.Add(1)
		return
	}
	a.handled.Add(1)
	a.finish()
}

func (a *audit) finish() {
	if a.handled.Load() == a.want.Load() {
		a.once.Do(func() { close(a.all) })
	}
}

// stall is how long a drain may make no progress before it is given up. It is longer than the poll interval of any of the
// systems.
const stall = 45 * time.Second

// wait returns when all was handled, when nothing has been for too long, or when ctx ends.
func (a *audit) wait(ctx context.Context) error {
	tick := time.NewTicker(stall)
	defer tick.Stop()
	before := int64(-1)
	for {
		select {
		case <-a.all:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			now := a.handled.Load()
			if now == before {
				return fmt.Errorf("nothing was handled for %v: %d of %d messages so far", stall, now, a.want.Load())
			}
			before = now
		}
	}
}

// audited is what an audit found.
type audited struct {
	Messages   int `json:"messages"`
	Missing    int `json:"missing"`
	Again      int `json:"again"`
	Foreign    int `json:"foreign"`
	LeftOver   int `json:"left_over"`   // rows that are still in the queue
	LeasesLost int `json:"leases_lost"` // as the worker's log says
}

// close ends the audit. leftOver is how many rows the queue still holds, lost how many leases the worker lost.
func (a *audit) close(leftOver, lost int) audited {
	want := int(a.want.Load())
	return audited{
		Messages:   want,
		Missing:    want - int(a.handled.Load()),
		Again:      int(a.again.Load()),
		Foreign:    int(a.foreign.Load()),
		LeftOver:   leftOver,
		LeasesLost: lost,
	}
}

// err says what is wrong; nil if nothing is.
func (a audited) err() error {
	var problems []error
	refuse := func(n int, what string) {
		if n > 0 {
			problems = append(problems, fmt.Errorf("%d of %d messages %s", n, a.Messages, what))
		}
	}
	refuse(a.Missing, "were never handled")
	refuse(a.Foreign, "were never published")
	refuse(a.LeftOver, "are still in the queue although handled")
	if a.Again > a.LeasesLost {
		refuse(a.Again, fmt.Sprintf("were handled again, and only %d lost leases explain it", a.LeasesLost))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("the audit failed: %w", errors.Join(problems...))
}
