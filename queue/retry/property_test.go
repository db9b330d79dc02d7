package retry_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue/retry"
)

func TestJitter_StaysInItsRangeAndFillsIt(t *testing.T) {
	t.Parallel()
	const ids = 20_000
	for _, tt := range []struct {
		name      string
		policy    retry.Policy
		attempt   int64
		low, high time.Duration
	}{
		{"both sides", retry.Constant{Delay: 10 * s, Jitter: 0.2}, 1, 8 * s, 12 * s},
		{"full", retry.Constant{Delay: 10 * s, Jitter: 1}, 1, ms, 20 * s},
		{"range cut at the cap", retry.Constant{Delay: 10 * s, Jitter: 0.5, MaxDelay: 12 * s}, 1, 5 * s, 12 * s},
		{"at the cap", retry.Constant{Delay: 10 * s, Jitter: 0.5, MaxDelay: 10 * s}, 1, 5 * s, 10 * s},
		{"at the ceiling", retry.Exponential{Jitter: 0.5, MaxAttempts: retry.Unlimited}, 10_000, retry.Ceiling / 2, retry.Ceiling},
		{"linear", retry.Linear{First: s, Step: s, Jitter: 0.1}, 5, 4500 * ms, 5500 * ms},
		{"default, first", retry.Default(), 1, 800 * ms, 1200 * ms},
		{"default, last", retry.Default(), 9, 204800 * ms, 300 * s},
		{"ids below zero", retry.Func(func(f retry.Failure) retry.Decision {
			f.ID = -f.ID
			return retry.Constant{Delay: 10 * s, Jitter: 0.2}.Decide(f)
		}), 1, 8 * s, 12 * s},
		{"ids far apart", retry.Func(func(f retry.Failure) retry.Decision {
			f.ID <<= 40
			return retry.Constant{Delay: 10 * s, Jitter: 0.2}.Decide(f)
		}), 1, 8 * s, 12 * s},
		{"one id, many attempts", retry.Func(func(f retry.Failure) retry.Decision {
			f.ID, f.Attempt = 7, f.ID+1
			return retry.Constant{Delay: 10 * s, Jitter: 0.2, MaxAttempts: retry.Unlimited}.Decide(f)
		}), 1, 8 * s, 12 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			var buckets [20]int // of equal width between low and high
			seen := map[time.Duration]bool{}
			for id := range int64(ids) {
				d := delayed(tt.policy.Decide(retry.Failure{ID: id, Attempt: tt.attempt}))
				if d < tt.low || d > tt.high {
					t.Fatalf("message %d: %v", id, d)
				}
				seen[d] = true
				buckets[min(int(float64(d-tt.low)/float64(tt.high-tt.low)*20), 19)]++
			}
			// 1,000 are expected in each; six standard deviations are 185.
			is.True(slices.Min(buckets[:]) > 815 && slices.Max(buckets[:]) < 1185)
			is.True(len(seen) > ids*95/100) // no two at the same instant, or few
		})
	}
}

func TestJitter_IsTheSameForTheSameFailure(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	p := retry.Default()
	for id := range int64(1000) {
		f := retry.Failure{ID: id, Attempt: id%9 + 1}
		is.Equal(p.Decide(f), p.Decide(f))
	}
	// Written out, so that a change of the algorithm does not go unnoticed:
	// rows in flight would be decided differently by two versions at once.
	is.Equal(delayed(p.Decide(retry.Failure{ID: 1, Attempt: 1})), 947_275_806*time.Nanosecond)
	is.Equal(delayed(p.Decide(retry.Failure{ID: 123456789, Attempt: 9})), 255_461_783_974*time.Nanosecond)
}

func TestJitter_OfAttemptsIsIndependent(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	p := retry.Constant{Delay: s, Jitter: 1}
	// The correlation of the jitter of two attempts, and of two neighbouring
	// ids, over 20,000 ids; its standard deviation is 0.007.
	const n = 20_000
	at := func(id, attempt int64) float64 {
		return delayed(p.Decide(retry.Failure{ID: id, Attempt: attempt})).Seconds() - 1
	}
	var attempts, neighbours float64
	for id := range int64(n) {
		attempts += at(id, 1) * at(id, 2)
		neighbours += at(id, 1) * at(id+1, 1)
	}
	is.True(math.Abs(attempts/n*3) < 0.04)
	is.True(math.Abs(neighbours/n*3) < 0.04)
}

func TestJitter_DoesNotGoBelowAMillisecond(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	for id := range int64(1000) {
		f := retry.Failure{ID: id, Attempt: 1}
		is.True(delayed(retry.Constant{Delay: ms, Jitter: 1}.Decide(f)) >= ms)
		is.True(delayed(retry.Constant{Delay: 10 * time.Microsecond, Jitter: 1}.Decide(f)) >= 10*time.Microsecond)
		is.Equal(delayed(retry.Constant{Jitter: 1}.Decide(f)), time.Duration(0)) // at once stays at once
	}
}

// settings are fields of a policy, within what Validate accepts.
type settings struct {
	first, step, cap time.Duration
	factor, jitter   float64
}

func random(r *rand.Rand) settings {
	// Exponents are drawn evenly, so that short times are as frequent as long.
	between := func(low, high time.Duration) time.Duration {
		a, b := math.Log(float64(low)), math.Log(float64(high))
		return min(max(time.Duration(math.Exp(a+r.Float64()*(b-a))), low), high)
	}
	first := between(ms, retry.Ceiling)
	return settings{
		first:  first,
		step:   between(1, retry.Ceiling),
		cap:    between(first, retry.Ceiling),
		factor: 1 + math.Abs(r.NormFloat64()),
		jitter: r.Float64(),
	}
}

// policies are the three that have such fields, without a limit on attempts.
func (s settings) policies(jitter float64) []retry.Policy {
	return []retry.Policy{
		retry.Constant{Delay: s.first, MaxDelay: s.cap, Jitter: jitter, MaxAttempts: retry.Unlimited},
		retry.Linear{First: s.first, Step: s.step, MaxDelay: s.cap, Jitter: jitter, MaxAttempts: retry.Unlimited},
		retry.Exponential{First: s.first, Factor: s.factor, MaxDelay: s.cap, Jitter: jitter, MaxAttempts: retry.Unlimited},
	}
}

// The loops below compare by hand: 100,000 calls of is are slow under -race.

func TestPolicies_HoldForAnySettings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := random(r)
		plain, jittered := s.policies(0), s.policies(s.jitter)
		for i := range plain {
			if err := errors.Join(retry.Validate(plain[i]), retry.Validate(jittered[i])); err != nil {
				t.Fatalf("%+v: %v", plain[i], err)
			}
			before := time.Duration(0)
			for attempt := int64(1); attempt < 1<<40; attempt += 1 + attempt/2 {
				f := retry.Failure{ID: int64(r.Uint64()), Attempt: attempt}

				d := delayed(plain[i].Decide(f))
				if d < s.first || d > s.cap || d < before {
					t.Fatalf("%+v: %v after attempt %d, %v before", plain[i], d, attempt, before)
				}
				before = d

				// A policy that Validate accepts is never overruled.
				decision, err := retry.Resolve(jittered[i], f)
				if err != nil {
					t.Fatal(err)
				}
				got, again := decision.Delay()
				if !again || got <= 0 || got > s.cap || math.Abs(float64(got-d)) > s.jitter*float64(d) {
					t.Fatalf("%+v: %v after attempt %d, %v without jitter", jittered[i], decision, attempt, d)
				}
			}
		}
	}
}

func TestPolicies_EndAtTheirLimits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		s, n, limit := random(r), 1+r.Int64N(1000), time.Duration(r.Int64N(int64(retry.Ceiling)))+1
		for _, p := range []retry.Policy{
			retry.Constant{Delay: s.first, Jitter: s.jitter, MaxAttempts: n, MaxElapsed: limit},
			retry.Linear{First: s.first, Step: s.step, Jitter: s.jitter, MaxAttempts: n, MaxElapsed: limit},
			retry.Exponential{First: s.first, Factor: s.factor, Jitter: s.jitter, MaxAttempts: n, MaxElapsed: limit},
		} {
			// A message that fails at once each time, until the policy ends it.
			f := retry.Failure{ID: r.Int64(), Attempt: 1}
			for {
				d, again := p.Decide(f).Delay()
				if !again {
					break
				}
				f.Attempt++
				f.Elapsed += d
				if f.Attempt > n || f.Elapsed > limit {
					t.Fatalf("%+v: went on to attempt %d after %v", p, f.Attempt, f.Elapsed)
				}
			}
		}
	}
}
