package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// FuzzExponential holds for any settings: no panic, a decision if and only if
// Validate accepts the policy, and a delay from 0 to the cap.
func FuzzExponential(f *testing.F) {
	add := func(p retry.Exponential, id, attempt int64, elapsed time.Duration) {
		f.Add(int64(p.First), p.Factor, int64(p.MaxDelay), p.Jitter, p.MaxAttempts, int64(p.MaxElapsed), id, attempt, int64(elapsed))
	}
	add(retry.Exponential{}, 1, 1, 0)
	add(retry.Default(), 1, 9, h)
	add(retry.Exponential{MaxAttempts: retry.Unlimited}, math.MaxInt64, 10_000, 0)
	add(retry.Exponential{MaxAttempts: retry.Unlimited, Factor: math.MaxFloat64, Jitter: 1}, math.MinInt64, math.MaxInt64, math.MaxInt64)
	add(retry.Exponential{First: retry.Ceiling, Factor: 1, MaxDelay: retry.Ceiling, Jitter: 1, MaxElapsed: 1}, 0, math.MinInt64, math.MinInt64)
	add(retry.Exponential{First: 1, Factor: math.Nextafter(1, 2), MaxAttempts: 1000}, -1, 999, -1)
	add(retry.Exponential{Factor: math.NaN(), Jitter: math.Inf(1)}, 1, 1, 0)

	f.Fuzz(func(t *testing.T, first int64, factor float64, maxDelay int64, jitter float64, maxAttempts, maxElapsed, id, attempt, elapsed int64) {
		p := retry.Exponential{
			First:       time.Duration(first),
			Factor:      factor,
			MaxDelay:    time.Duration(maxDelay),
			Jitter:      jitter,
			MaxAttempts: maxAttempts,
			MaxElapsed:  time.Duration(maxElapsed),
		}
		failure := retry.Failure{ID: id, Attempt: attempt, Elapsed: time.Duration(elapsed)}

		d := p.Decide(failure)
		if invalid := p.Validate(); (invalid != nil) != (d == retry.Decision{}) {
			t.Fatalf("%v for %+v, which Validate says is: %v", d, p, invalid)
		}
		longest := retry.Ceiling
		if p.MaxDelay > 0 {
			longest = min(longest, p.MaxDelay)
		}
		if delay, again := d.Delay(); again && (delay < 0 || delay > longest) {
			t.Fatalf("%v for %+v", d, p)
		}

		r, err := retry.Resolve(p, failure)
		if r == (retry.Decision{}) {
			t.Fatalf("nothing resolved for %+v", p)
		}
		if err == nil && r != d {
			t.Fatalf("%v became %v for %+v", d, r, p)
		}
		if delay, again := r.Delay(); again && (delay < 0 || delay > retry.Ceiling) {
			t.Fatalf("resolved as %v for %+v", r, p)
		}
	})
}
