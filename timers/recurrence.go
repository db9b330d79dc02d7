package timers

import (
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

// Recurrence says at which instants recurring work is to run. Make it with [Every]
// or [Cron], at package level if you like. It is an immutable value and safe for
// concurrent use.
type Recurrence struct {
	text string // names it, and is the same in every worker
	// next is the first tick after an instant, zero: there is none.
	next func(after time.Time) time.Time
	err  error
}

// shortest is what Every takes at least: a tick is two commits.
const shortest = 100 * time.Millisecond

// Every is a recurrence of ticks at the multiples of an interval since the zero
// time, in UTC, as [time.Time.Truncate] has them: every 15 minutes is at the full
// hour, at a quarter past, and so on; every 24 hours is at midnight; every 7 days
// is on Mondays. So all workers agree on the ticks, and none shifts them by
// starting. Less than 100 ms or more than [queue.MaxDelay] is refused: see
// [Recurrence.Err].
func Every(interval time.Duration) Recurrence {
	r := Recurrence{text: fmt.Sprint("every ", interval)}
	if interval < shortest || interval > queue.MaxDelay {
		r.err = fmt.Errorf("%w: every %v, the interval may be %v to %v", ErrInvalidRecurrence, interval, shortest, queue.MaxDelay)
	}
	r.next = func(after time.Time) time.Time { return after.UTC().Truncate(interval).Add(interval) }
	return r
}

// Err is what is wrong with the recurrence, [ErrInvalidRecurrence]; nil if nothing
// is. A worker made with it reports the same.
func (r Recurrence) Err() error {
	if r.next == nil && r.err == nil {
		return fmt.Errorf("%w: zero value: use Every or Cron", ErrInvalidRecurrence)
	}
	return r.err
}

// Next is the first tick after an instant, in the zone of the recurrence. It is the
// zero time where the recurrence is wrong, or where there is no further tick.
func (r Recurrence) Next(after time.Time) time.Time {
	if r.Err() != nil {
		return time.Time{}
	}
	return r.next(after)
}

// String describes the recurrence.
func (r Recurrence) String() string {
	if r.text == "" {
		return "no recurrence"
	}
	return r.text
}

// latest is the last tick in [first, until], where first is one.
//
// It looks back from until in steps that grow, so that it asks for few ticks
// however long ago the first was.
func (r Recurrence) latest(first, until time.Time) time.Time {
	const grow, most = 4, 100 * 365 * 24 * time.Hour
	for back := time.Minute; ; back *= grow {
		from := until.Add(-back)
		if !from.After(first) || back > most {
			from = first
		}
		at := r.next(from)
		if at.IsZero() || at.After(until) {
			if from.Equal(first) {
				return first
			}
			continue
		}
		for {
			next := r.next(at)
			if next.IsZero() || next.After(until) {
				return at
			}
			at = next
		}
	}
}
