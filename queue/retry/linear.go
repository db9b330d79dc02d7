package retry

import "time"

// Linear waits for a time that grows by the same step at each failure: First,
// First+Step, First+2*Step and so on. The zero Linear retries at once, ten
// attempts in all.
type Linear struct {
	// First is the delay after the first failure. Zero means at once.
	First time.Duration
	// Step is what each further failure adds. Zero means nothing.
	Step time.Duration
	// MaxDelay is the longest delay, jitter included. Zero means [Ceiling].
	MaxDelay time.Duration
	// Jitter is the fraction of a delay by which it is spread to both sides,
	// 0 to 1. Zero means no jitter.
	Jitter float64
	// MaxAttempts is how many attempts there are in all, the first included.
	// Zero means 10, [Unlimited] no limit; then First or Step is at least a
	// millisecond.
	MaxAttempts int64
	// MaxElapsed makes the policy give up when the next attempt would begin
	// later than this after the first one began. Zero means no limit.
	MaxElapsed time.Duration
}

// Decide retries after a delay that grows with f.Attempt until a limit is
// reached. A Linear that Validate refuses makes no decision.
func (p Linear) Decide(f Failure) Decision {
	if p.Validate() != nil {
		return Decision{}
	}
	return p.limits().decide(f, p.delay(f.Attempt))
}

// Validate reports all that is wrong with the policy, see the package's
// [Validate].
func (p Linear) Validate() error {
	return p.limits().check("retry.Linear", field{"First", p.First}, field{"Step", p.Step}, max(p.First, p.Step))
}

// delay is the delay before jitter. It saturates at the longest one.
func (p Linear) delay(attempt int64) time.Duration {
	steps, longest := max(attempt, 1)-1, p.limits().longest()
	if p.Step > 0 && steps > int64((longest-p.First)/p.Step) {
		return longest // also where the product would overflow
	}
	return p.First + time.Duration(steps)*p.Step
}

func (p Linear) limits() limits {
	return limits{p.MaxDelay, p.Jitter, p.MaxAttempts, p.MaxElapsed}
}
