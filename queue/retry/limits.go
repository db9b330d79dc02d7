package retry

import (
	"errors"
	"fmt"
	"time"
)

// Unlimited, as MaxAttempts of a policy, takes away the limit on attempts. It
// is typed so that it does not compile as a duration: a limit on time is taken
// away by leaving it out.
const Unlimited int64 = -1

const (
	// shortest is the delay under which repetition counts as a hot loop: a
	// claim and its settling cost about as much.
	shortest = time.Millisecond
	// hotAttempts is how many attempts with shorter delays than that are
	// taken as intended.
	hotAttempts = 1000
)

// limits is what the policies with a delay have in common.
type limits struct {
	maxDelay    time.Duration
	jitter      float64
	maxAttempts int64
	maxElapsed  time.Duration
}

// longest is the longest delay after jitter.
func (l limits) longest() time.Duration {
	if l.maxDelay <= 0 { // below zero is refused, under its own name
		return Ceiling
	}
	return l.maxDelay
}

// attempts is the limit on attempts, and false where there is none.
func (l limits) attempts() (int64, bool) {
	switch l.maxAttempts {
	case 0:
		return defaultMaxAttempts, true
	case Unlimited:
		return 0, false
	default:
		return l.maxAttempts, true
	}
}

// decide applies jitter and limits to a delay. The limits have passed check and
// the delay is at most the longest.
func (l limits) decide(f Failure, delay time.Duration) Decision {
	f.Attempt = max(f.Attempt, 1)
	if n, limited := l.attempts(); limited && f.Attempt >= n {
		return GiveUp()
	}
	delay = spread(delay, l.jitter, l.longest(), f)
	// Compared by subtraction: the sum may overflow, the difference cannot.
	if l.maxElapsed > 0 && delay > l.maxElapsed-max(f.Elapsed, 0) {
		return GiveUp()
	}
	return After(delay)
}

// field is a delay of a policy with its name in the literal.
type field struct {
	name  string
	value time.Duration
}

// check reports all problems of a policy: with its limits, with up to two
// delays of its own, of which the first must not be above the cap, and with its
// pace, the delay that it keeps at least when it goes on for long. Nothing is
// allocated where nothing is wrong, because each decision checks again.
func (l limits) check(policy string, first, second field, pace time.Duration) error {
	return errors.Join(
		checkDelay(policy, first),
		checkDelay(policy, second),
		checkDelay(policy, field{"MaxDelay", l.maxDelay}),
		l.checkCap(policy, first),
		l.checkJitter(policy),
		l.checkAttempts(policy),
		l.checkElapsed(policy),
		l.checkPace(policy, pace),
	)
}

func checkDelay(policy string, f field) error {
	switch {
	case f.value < 0:
		return fmt.Errorf("%s: %s is %v, below zero", policy, f.name, f.value)
	case f.value > Ceiling:
		return fmt.Errorf("%s: %s is %v, above the longest delay of 365 days", policy, f.name, f.value)
	}
	return nil
}

func (l limits) checkCap(policy string, first field) error {
	if l.maxDelay > 0 && first.value > l.maxDelay {
		return fmt.Errorf("%s: %s is %v, above MaxDelay, %v", policy, first.name, first.value, l.maxDelay)
	}
	return nil
}

func (l limits) checkJitter(policy string) error {
	if !(l.jitter >= 0 && l.jitter <= 1) { // refuses NaN too
		return fmt.Errorf("%s: Jitter is %v, not a fraction from 0 to 1", policy, l.jitter)
	}
	return nil
}

func (l limits) checkAttempts(policy string) error {
	if l.maxAttempts < 0 && l.maxAttempts != Unlimited {
		return fmt.Errorf("%s: MaxAttempts is %d, below zero and not retry.Unlimited", policy, l.maxAttempts)
	}
	return nil
}

func (l limits) checkElapsed(policy string) error {
	if l.maxElapsed < 0 {
		return fmt.Errorf("%s: MaxElapsed is %v, below zero", policy, l.maxElapsed)
	}
	return nil
}

// checkPace refuses a hot loop. MaxElapsed does not make it right: it would
// only say for how long.
func (l limits) checkPace(policy string, pace time.Duration) error {
	if n, limited := l.attempts(); limited && n <= hotAttempts {
		return nil
	}
	if pace = min(pace, l.longest()); pace < shortest {
		return fmt.Errorf("%s: more than %d attempts need a delay of at least %v, not %v", policy, hotAttempts, shortest, pace)
	}
	return nil
}
