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

// Flow lets a clock that was [Frozen] go on from where it stands, as real time
// does.
func (s *Store) Flow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clock.frozen {
		s.clock.origin, s.clock.frozen = time.Now(), false
	}
}

// Advance moves the clock on by d, and then tells the listeners of the queues in
// which rows became due by it. The clock never goes back: a negative d is zero.
func (s *Store) Advance(d time.Duration) {
	for _, due := range s.advance(max(d, 0)) {
		due.store.wake(due.queues)
	}
}

// news is what the listeners of a store are to be told.
type news struct {
	store  *Store
	queues []string
}

// advance moves the clock and names the queues with rows due in between.
func (d *database) advance(by time.Duration) (due []news) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.clock.now()
	d.clock.moved += by
	now := d.clock.now()
	for _, s := range d.stores {
		n := news{store: s}
		for _, name := range slices.Sorted(maps.Keys(s.queues)) {
			k, ok := s.queues[name].pending.first(before.UnixMicro() + 1)
			if ok && k.at <= now.UnixMicro() {
				n.queues = append(n.queues, name)
			}
		}
		due = append(due, n)
	}
	return due
}
