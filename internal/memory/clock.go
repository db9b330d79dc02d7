package memory

import (
	"maps"
	"slices"
	"time"
)

// clock is the store's own time: the start, what has really passed since
// unless it is frozen, and what it was moved by.
type clock struct {
	start  time.Time
	origin time.Time // of real time, with its monotonic reading
	moved  time.Duration
	frozen bool
}

// now is in whole microseconds, the table's precision: an instant that went
// through a database must equal the one that did not.
func (c *clock) now() time.Time {
	t := c.start.Add(c.moved)
	if !c.frozen {
		t = t.Add(time.Since(c.origin))
	}
	return instant(t)
}

// instant is t as the table keeps it.
func instant(t time.Time) time.Time {
	return time.UnixMicro(t.UnixMicro()).UTC()
}

// Now is the time on the store's clock.
func (s *Store) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock.now()
}

// Advance moves the store's clock on by d, and then tells the listeners of
// the queues in which rows became due by it. The clock never goes back: a
// negative d is zero.
func (s *Store) Advance(d time.Duration) {
	s.wake(s.advance(max(d, 0)))
}

// advance moves the clock and names the queues with rows due in between.
func (s *Store) advance(d time.Duration) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.clock.now()
	s.clock.moved += d
	now := s.clock.now()

	var due []string
	for _, name := range slices.Sorted(maps.Keys(s.queues)) {
		k, ok := s.queues[name].pending.first(before.UnixMicro() + 1)
		if ok && k.at <= now.UnixMicro() {
			due = append(due, name)
		}
	}
	return due
}
