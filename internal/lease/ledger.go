package lease

import (
	"sync"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

const (
	// linger is the longest that an outcome waits for company while other
	// work is still running. When nothing else runs there is no wait.
	linger = 2 * time.Millisecond
	// enough outcomes are written at once, however young they are.
	enough = 500
	// lockedPause is how long an outcome waits whose row somebody has locked.
	lockedPause = 100 * time.Millisecond
)

// entry is one decided message.
type entry struct {
	hand    *hand
	outcome store.Outcome
	// again marks a write whose answer was lost: when it is repeated and finds
	// no row, the first try may well have been the one that took it.
	again bool
}

// ledger collects outcomes between the slots, which write it, and the pump,
// which empties it.
type ledger struct {
	signal chan struct{} // something is worth a look; buffered, never blocks

	mu      sync.Mutex
	entries []entry
	spare   [][]entry // memory of entries that have been written
	oldest  time.Time
	open    int // messages in hand without an outcome
	locked  []entry
	again   time.Time // when those are tried again
}

func newLedger() *ledger { return &ledger{signal: make(chan struct{}, 1)} }

// opened counts messages that will come back as entries.
func (l *ledger) opened(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += n
}

// add takes outcomes in. It wakes the pump only when that matters: for the
// first one, when enough have come, and when no more are to come.
func (l *ledger) add(es ...entry) {
	l.mu.Lock()
	first := len(l.entries) == 0
	if first && len(es) > 0 {
		l.oldest = time.Now()
	}
	before := len(l.entries)
	l.entries = append(l.entries, es...)
	l.open -= len(es)
	wake := first || l.open == 0 || (before < enough && len(l.entries) >= enough)
	l.mu.Unlock()
	if wake {
		nudge(l.signal)
	}
}

// due says when the entries should be written: the zero time if there are
// none, and no later than now when there is no reason to wait.
func (l *ledger) due(now time.Time) (at time.Time, any bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.entries) == 0:
		return l.again, len(l.locked) > 0
	case l.open == 0 || len(l.entries) >= enough:
		return now, true
	case len(l.locked) > 0 && l.again.Before(l.oldest.Add(linger)):
		return l.again, true
	default:
		return l.oldest.Add(linger), true
	}
}

// full reports whether there is enough for a round trip of its own.
func (l *ledger) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries) >= enough
}

// take empties the ledger, but for what waits for somebody's locks.
func (l *ledger) take(now time.Time) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	es := l.entries
	if !now.Before(l.again) {
		es, l.locked = append(es, l.locked...), nil
	}
	l.entries = nil
	if n := len(l.spare); n > 0 {
		l.entries, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	return es
}

// reuse takes the memory of entries that are done with.
func (l *ledger) reuse(es []entry) {
	clear(es)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) < maxTrips {
		l.spare = append(l.spare, es[:0])
	}
}

// postpone takes in entries whose rows somebody has locked. They come back in a
// while, on the same footing as those that wait already.
func (l *ledger) postpone(es []entry, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.locked) == 0 {
		l.again = now.Add(lockedPause)
	}
	for _, en := range es {
		en.outcome.Locked = true
		l.locked = append(l.locked, en)
	}
}

// giveBack returns entries that could not be written, for the next try.
func (l *ledger) giveBack(es []entry) {
	for i := range es {
		es[i].again = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(es, l.entries...)
}

// nudge makes a wake-up of a buffered channel of one; a second is no loss.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
