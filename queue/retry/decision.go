package retry

import "time"

// Ceiling is the longest delay there is: 365 days. It is where unbounded growth
// ends. A [time.Duration] can hold 292 years and a PostgreSQL timestamp far
// more, so that adding it to any clock is safe; and a message that waits for
// longer than a year is better described by a timer than by a retry.
const Ceiling = 365 * 24 * time.Hour

// Decision is what a [Policy] makes of a failure: to handle the message again
// after a delay, or to give up. Make one with [After] or [GiveUp]. The zero
// Decision is no decision; [Resolve] puts one of [Default] in its place.
//
// Decisions can be compared with ==.
type Decision struct {
	verdict verdict
	delay   time.Duration
}

type verdict uint8

const (
	undecided verdict = iota
	again
	giveUp
)

// After decides to handle the message again when d has passed, by the clock of
// the database. Zero means at once, which is a decision like any other; a loop
// of such decisions is bounded as [Resolve] says. A delay above [Ceiling]
// becomes Ceiling. A negative delay is kept for [Resolve] to refuse.
func After(d time.Duration) Decision {
	return Decision{verdict: again, delay: min(d, Ceiling)}
}

// GiveUp decides that the message is not handled again. It becomes a dead
// letter with the reason retry_terminal.
func GiveUp() Decision {
	return Decision{verdict: giveUp}
}

// Delay reports the delay before the next attempt, and whether there is one. It
// reports false for [GiveUp] and for the zero Decision.
func (d Decision) Delay() (time.Duration, bool) {
	return d.delay, d.verdict == again
}

// String describes the decision for logs and tests, such as "retry after 2s",
// "give up" or "no decision".
func (d Decision) String() string {
	switch d.verdict {
	case again:
		return "retry after " + d.delay.String()
	case giveUp:
		return "give up"
	default:
		return "no decision"
	}
}
