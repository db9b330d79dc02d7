package retry

import (
	"fmt"
	"math"
	"time"
)

const (
	defaultFirst       = time.Second
	defaultFactor      = 2
	defaultMaxDelay    = 5 * time.Minute
	defaultJitter      = 0.2
	defaultMaxAttempts = 10
)

// Exponential waits for a time that grows by the same factor at each failure:
// First, First*Factor, First*Factor*Factor and so on. The zero Exponential
// waits for 1 s, 2 s, 4 s and so on, without jitter, ten attempts in all.
type Exponential struct {
	// First is the delay after the first failure. Zero means 1 s, or MaxDelay
	// where that is shorter.
	First time.Duration
	// Factor is what each further failure multiplies the delay by, at least 1.
	// Zero means 2.
	Factor float64
	// MaxDelay is the longest delay, jitter included. Zero means [Ceiling].
	MaxDelay time.Duration
	// Jitter is the fraction of a delay by which it is spread to both sides,
	// 0 to 1. Zero means no jitter.
	Jitter float64
	// MaxAttempts is how many attempts there are in all, the first included.
	// Zero means 10, [Unlimited] no limit; then First is at least a
	// millisecond.
	MaxAttempts int64
	// MaxElapsed makes the policy give up when the next attempt would begin
	// later than this after the first one began. Zero means no limit.
	MaxElapsed time.Duration
}

// Default is the policy of a queue that names none, and what [Resolve] falls
// back to: a first delay of 1 s, doubling, at most 5 minutes, 20 % jitter, 10
// attempts in all, no limit on time. It is a copy, to be used as it is or with
// a field changed.
func Default() Exponential {
	return Exponential{
		First:       defaultFirst,
		Factor:      defaultFactor,
		MaxDelay:    defaultMaxDelay,
		Jitter:      defaultJitter,
		MaxAttempts: defaultMaxAttempts,
	}
}

// Decide retries after a delay that grows with f.Attempt until a limit is
// reached. An Exponential that Validate refuses makes no decision.
func (p Exponential) Decide(f Failure) Decision {
	if p.Validate() != nil {
		return Decision{}
	}
	return p.limits().decide(f, p.delay(f.Attempt))
}

// Validate reports all that is wrong with the policy, see the package's
// [Validate].
func (p Exponential) Validate() error {
	err := p.limits().check("retry.Exponential", field{"First", p.first()}, field{}, p.first())
	// Below 1 it would retry the faster the longer the failure lasts. The
	// comparison is written so that it refuses NaN too.
	if p.Factor != 0 && !(p.Factor >= 1 && p.Factor <= math.MaxFloat64) {
		return join(err, fmt.Errorf("retry.Exponential: Factor is %v, not a finite number from 1", p.Factor))
	}
	return err
}

// delay is the delay before jitter. It saturates at the longest one.
func (p Exponential) delay(attempt int64) time.Duration {
	factor := p.Factor
	if factor == 0 {
		factor = defaultFactor
	}
	// Pow and the product end in +Inf where they overflow, never in NaN: both
	// operands are above zero.
	grown := float64(p.first()) * math.Pow(factor, float64(max(attempt, 1)-1))
	longest := p.limits().longest()
	if grown >= float64(longest) {
		return longest // before the conversion, which is undefined out of range
	}
	return time.Duration(grown)
}

func (p Exponential) first() time.Duration {
	if p.First == 0 {
		return min(defaultFirst, p.limits().longest())
	}
	return p.First
}

func (p Exponential) limits() limits {
	return limits{p.MaxDelay, p.Jitter, p.MaxAttempts, p.MaxElapsed}
}
