package timers

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Cron is a recurrence of the ticks of a cron expression, on the wall clock of a
// zone: an IANA name such as "Europe/Berlin", or "" for UTC.
//
// The expression is as crontab has it: five fields, minute, hour, day of month,
// month and day of week, each *, a number or a name, a range, a step, or a list of
// those; 7 is Sunday too, and where both days are given one of them will do. Of
// day of month L is the last, and 15W the working day nearest the 15th; FRI#2 is
// the second Friday, and 5L the last one. @hourly, @daily, @weekly, @monthly and
// @yearly stand for what they say. Seconds and years are refused.
//
// When clocks change, a tick comes once: one whose time does not exist comes when
// the clock has jumped, and one whose time comes twice comes the first time. An
// expression whose hour begins with * goes by what the clock shows instead: it
// goes through the repeated hour again, and has nothing in the missing one.
//
// A mistake in the expression, an unknown zone (in a container without zone data,
// import time/tzdata), and an expression that never fires, such as the 30th of
// February, are kept: see [Recurrence.Err].
func Cron(expr, zone string) Recurrence {
	loc, err := loadZone(zone)
	r := Recurrence{text: fmt.Sprintf("cron %s in %s", expr, loc)}
	refuse := func(format string, args ...any) Recurrence {
		r.err = fmt.Errorf("%w: cron %.100q: "+format, append([]any{ErrInvalidRecurrence, expr}, args...)...)
		return r
	}
	if err != nil {
		return refuse("%w", err)
	}
	fields := strings.Fields(expr)
	if len(fields) == 1 && shorthand[fields[0]] != "" {
		fields = strings.Fields(shorthand[fields[0]])
	}
	if len(fields) != 5 {
		return refuse("it has %d fields, not minute, hour, day of month, month and day of week", len(fields))
	}
	c := cron{expr: strings.Join(fields, " "), zone: loc, flows: strings.HasPrefix(fields[1], "*")}
	if _, err := gronx.NextTickAfter(c.expr, beginning, true); err != nil {
		if !gronx.New().IsValid(c.expr) {
			return refuse("%w", err)
		}
		return refuse("it never fires")
	}
	r.next = c.next
	return r
}

// shorthand is what the words stand for, as crontab has it.
var shorthand = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// beginning is where it is looked whether an expression fires at all. Expressions
// have no year, so any will do.
var beginning = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// loadZone refuses the zone of the machine, which is another on each.
func loadZone(name string) (*time.Location, error) {
	if name == "Local" {
		return time.UTC, fmt.Errorf("the zone Local is another one on each machine; name it")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC, err
	}
	return loc, nil
}

// cron is an expression in a zone. The parser is asked for times on a clock that
// never changes, which a zone's is between two changes; what happens at a change
// is decided here.
type cron struct {
	expr string
	zone *time.Location
	// flows says that the ticks follow the clock through a change.
	flows bool
}

// mostChanges bounds the search: at two changes a year, it is as far as the parser
// looks.
const mostChanges = 1000

// next is the first tick after an instant; zero: there is none.
func (c cron) next(after time.Time) time.Time {
	at, inclusive := after.In(c.zone), false
	if again := c.firstNew(at); at.Before(again) {
		at, inclusive = again, true
	}
	for range mostChanges {
		tick, err := gronx.NextTickAfter(c.expr, wall(at), inclusive)
		if err != nil {
			return time.Time{}
		}
		tick = tick.Truncate(time.Second)
		in := at.Add(tick.Sub(wall(at))) // the instant, if the clock did not change
		_, change := at.ZoneBounds()
		if change.IsZero() || in.Before(change) {
			return in
		}
		// On the other side of the change.
		if !c.flows && tick.Before(wall(change)) {
			return change // its time is missing
		}
		at, inclusive = change, true
		if again := c.firstNew(at); at.Before(again) {
			at = again
		}
	}
	return time.Time{}
}

// firstNew is when, after the last change of the clock before at, it first shows
// what it has not shown before; the change itself unless it was put back.
func (c cron) firstNew(at time.Time) time.Time {
	change, _ := at.ZoneBounds()
	if c.flows || change.IsZero() {
		return change
	}
	_, before := change.Add(-1).Zone()
	_, after := change.Zone()
	return change.Add(max(0, time.Duration(before-after)*time.Second))
}

// wall is what the clock shows, as an instant of UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}
