package retry

import "time"

// Constant waits for the same time before each attempt. The zero Constant
// retries at once, ten attempts in all.
type Constant struct {
	// Delay is the time between a failure and the next attempt. Zero means at
	// once.
	Delay time.Duration
	// MaxDelay is the longest delay after jitter. Zero means [Ceiling].
	MaxDelay time.Duration
	// Jitter is the fraction of a delay by which it is spread to both sides,
	// 0 to 1. Zero means no jitter.
	Jitter float64
	// MaxAttempts is how many attempts there are in all, the first included.
	// Zero means 10, [Unlimited] no limit; then Delay is at least a millisecond.
	MaxAttempts int64
	// MaxElapsed makes the policy give up when the next attempt would begin
	// later than this after the first one began. Zero means no limit.
	MaxElapsed time.Duration
}

// Decide retries after Delay until a limit is reached. A Constant that Validate
// refuses makes no decision.
func (p Constant) Decide(f Failure) Decision {
	if p.Validate() != nil {
		return Decision{}
	}
	return p.limits().decide(f, p.Delay)
}

// Validate reports all that is wrong with the policy, see the package's
// [Validate].
func (p Constant) Validate() error {
	return p.limits().check("retry.Constant", field{"Delay", p.Delay}, field{}, p.Delay)
}

func (p Constant) limits() limits {
	return limits{p.MaxDelay, p.Jitter, p.MaxAttempts, p.MaxElapsed}
}
