package retry_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue/retry"
)

const (
	ms = time.Millisecond
	s  = time.Second
	m  = time.Minute
	h  = time.Hour

	never = -1 * time.Nanosecond // in tables: gives up
)

// failure is the n-th failure of message 1.
func failure(n int64) retry.Failure {
	return retry.Failure{Queue: "orders.placed", ID: 1, Attempt: n, Err: errors.New("broken")}
}

// delayed is the delay of a decision, or never.
func delayed(d retry.Decision) time.Duration {
	delay, ok := d.Delay()
	if !ok {
		return never
	}
	return delay
}

func TestPolicies_DelaysByAttempt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		policy retry.Policy
		want   []time.Duration // after attempts 1, 2, 3, ...
	}{
		{"never", retry.Never{}, []time.Duration{never, never}},
		{"func", retry.Func(func(f retry.Failure) retry.Decision { return retry.After(time.Duration(f.Attempt)) }), []time.Duration{1, 2, 3}},

		{"constant, zero", retry.Constant{}, []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 0, never, never}},
		{"constant", retry.Constant{Delay: 3 * s}, []time.Duration{3 * s, 3 * s, 3 * s, 3 * s, 3 * s, 3 * s, 3 * s, 3 * s, 3 * s, never}},
		{"constant, one attempt", retry.Constant{Delay: 3 * s, MaxAttempts: 1}, []time.Duration{never, never}},
		{"constant, two attempts", retry.Constant{Delay: 3 * s, MaxAttempts: 2}, []time.Duration{3 * s, never}},
		{"constant at its cap", retry.Constant{Delay: 3 * s, MaxDelay: 3 * s, MaxAttempts: 2}, []time.Duration{3 * s, never}},

		{"linear, zero", retry.Linear{MaxAttempts: 3}, []time.Duration{0, 0, never}},
		{"linear", retry.Linear{First: s, Step: 2 * s}, []time.Duration{1 * s, 3 * s, 5 * s, 7 * s, 9 * s, 11 * s, 13 * s, 15 * s, 17 * s, never}},
		{"linear, only a step", retry.Linear{Step: 5 * s, MaxAttempts: 4}, []time.Duration{0, 5 * s, 10 * s, never}},
		{"linear, only a first delay", retry.Linear{First: s, MaxAttempts: 4}, []time.Duration{s, s, s, never}},
		{"linear, cap between steps", retry.Linear{First: s, Step: 2 * s, MaxDelay: 6 * s, MaxAttempts: 6}, []time.Duration{1 * s, 3 * s, 5 * s, 6 * s, 6 * s, never}},
		{"linear, cap on a step", retry.Linear{First: s, Step: 2 * s, MaxDelay: 5 * s, MaxAttempts: 6}, []time.Duration{1 * s, 3 * s, 5 * s, 5 * s, 5 * s, never}},

		{"exponential, zero", retry.Exponential{}, []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, never}},
		{"exponential, only a first delay", retry.Exponential{First: 10 * m}, []time.Duration{10 * m, 20 * m, 40 * m, 80 * m, 160 * m, 320 * m, 640 * m, 1280 * m, 2560 * m, never}},
		{"exponential, factor 1", retry.Exponential{Factor: 1, MaxAttempts: 4}, []time.Duration{s, s, s, never}},
		{"exponential, factor 1.5", retry.Exponential{Factor: 1.5, MaxAttempts: 5}, []time.Duration{1000 * ms, 1500 * ms, 2250 * ms, 3375 * ms, never}},
		{"exponential, factor 10", retry.Exponential{First: ms, Factor: 10, MaxAttempts: 6}, []time.Duration{1 * ms, 10 * ms, 100 * ms, 1 * s, 10 * s, never}},
		{"exponential, capped", retry.Exponential{First: 10 * s, MaxDelay: m, MaxAttempts: 6}, []time.Duration{10 * s, 20 * s, 40 * s, m, m, never}},
		{"exponential, cap below the default", retry.Exponential{MaxDelay: 300 * ms, MaxAttempts: 3}, []time.Duration{300 * ms, 300 * ms, never}},
		{"exponential by pointer", &retry.Exponential{MaxAttempts: 2}, []time.Duration{s, never}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			is.NoErr(retry.Validate(tt.policy))
			got := make([]time.Duration, len(tt.want))
			for i := range got {
				got[i] = delayed(tt.policy.Decide(failure(int64(i + 1))))
			}
			is.Equal(got, tt.want)
		})
	}
}

func TestDefault_IsTheReferenceSystems(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	is.Equal(retry.Default(), retry.Exponential{First: s, Factor: 2, MaxDelay: 5 * m, Jitter: 0.2, MaxAttempts: 10})
	is.NoErr(retry.Validate(retry.Default()))
}

func TestPolicies_SaturateFarOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		policy  retry.Policy
		attempt int64
		want    time.Duration
	}{
		{"exponential before the ceiling", retry.Exponential{MaxAttempts: retry.Unlimited}, 25, 16777216 * s},
		{"exponential at the ceiling", retry.Exponential{MaxAttempts: retry.Unlimited}, 26, retry.Ceiling},
		{"exponential, attempt 64", retry.Exponential{MaxAttempts: retry.Unlimited}, 64, retry.Ceiling},
		{"exponential, attempt 10,000", retry.Exponential{MaxAttempts: retry.Unlimited}, 10_000, retry.Ceiling},
		{"exponential, last attempt", retry.Exponential{MaxAttempts: retry.Unlimited}, math.MaxInt64, retry.Ceiling},
		{"exponential with a cap", retry.Exponential{MaxDelay: h, MaxAttempts: retry.Unlimited}, 10_000, h},
		{"exponential, largest factor", retry.Exponential{Factor: math.MaxFloat64, MaxAttempts: retry.Unlimited}, 3, retry.Ceiling},
		{"exponential, limit far out", retry.Exponential{MaxAttempts: math.MaxInt64}, math.MaxInt64 - 1, retry.Ceiling},
		{"exponential, limit reached far out", retry.Exponential{MaxAttempts: math.MaxInt64}, math.MaxInt64, never},
		{"linear before the ceiling", retry.Linear{Step: h, MaxAttempts: retry.Unlimited}, 365 * 24, retry.Ceiling - h},
		{"linear at the ceiling", retry.Linear{Step: h, MaxAttempts: retry.Unlimited}, 365*24 + 1, retry.Ceiling},
		{"linear past the ceiling", retry.Linear{Step: h, MaxAttempts: retry.Unlimited}, 365*24 + 2, retry.Ceiling},
		{"linear, last attempt", retry.Linear{Step: retry.Ceiling, First: retry.Ceiling, MaxAttempts: retry.Unlimited}, math.MaxInt64, retry.Ceiling},
		{"linear with a cap", retry.Linear{Step: s, MaxDelay: h, MaxAttempts: retry.Unlimited}, 10_000, h},
		{"linear without a step", retry.Linear{First: s, MaxAttempts: retry.Unlimited}, math.MaxInt64, s},
		{"constant, last attempt", retry.Constant{Delay: retry.Ceiling, MaxAttempts: retry.Unlimited}, math.MaxInt64, retry.Ceiling},
		{"attempt zero is the first", retry.Exponential{}, 0, s},
		{"attempt below zero is the first", retry.Linear{First: s, Step: s}, math.MinInt64, s},
		{"attempt zero of one", retry.Constant{MaxAttempts: 1}, 0, never},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			is.NoErr(retry.Validate(tt.policy))
			is.Equal(delayed(tt.policy.Decide(failure(tt.attempt))), tt.want)
		})
	}
}

func TestPolicies_MaxElapsed(t *testing.T) {
	t.Parallel()
	const limit = 10 * s
	for _, tt := range []struct {
		name    string
		elapsed time.Duration
		want    time.Duration // with a delay of 3 s
	}{
		{"at the beginning", 0, 3 * s},
		{"before the first attempt, by a clock that jumped", -h, 3 * s},
		{"next attempt on the limit", 7 * s, 3 * s},
		{"next attempt just past the limit", 7*s + 1, never},
		{"on the limit", limit, never},
		{"long past the limit", math.MaxInt64, never},
		{"absurdly early", math.MinInt64, 3 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			f := failure(1)
			f.Elapsed = tt.elapsed
			for _, p := range []retry.Policy{
				retry.Constant{Delay: 3 * s, MaxElapsed: limit},
				retry.Constant{Delay: 3 * s, MaxElapsed: limit, MaxAttempts: retry.Unlimited},
				retry.Linear{First: 3 * s, MaxElapsed: limit},
				retry.Exponential{First: 3 * s, MaxElapsed: limit},
			} {
				is.Equal(delayed(p.Decide(f)), tt.want)
			}
		})
	}

	t.Run("zero is no limit", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		f := failure(1)
		f.Elapsed = math.MaxInt64
		is.Equal(retry.Constant{Delay: s}.Decide(f), retry.After(s))
	})
	t.Run("counts the delay after jitter", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		p, free := retry.Constant{Delay: 10 * s, Jitter: 0.5, MaxElapsed: 10 * s}, retry.Constant{Delay: 10 * s, Jitter: 0.5}
		var kept, ended int
		for id := range int64(1000) {
			f := retry.Failure{ID: id, Attempt: 1}
			if delayed(free.Decide(f)) <= 10*s {
				kept++
				is.Equal(p.Decide(f), free.Decide(f))
			} else {
				ended++
				is.Equal(p.Decide(f), retry.GiveUp())
			}
		}
		is.True(kept > 400 && ended > 400)
	})
}

func TestDecision_SaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		decision retry.Decision
		delay    time.Duration
		again    bool
		text     string
	}{
		{retry.After(2 * s), 2 * s, true, "retry after 2s"},
		{retry.After(0), 0, true, "retry after 0s"},
		{retry.After(-s), -s, true, "retry after -1s"},
		{retry.After(retry.Ceiling), retry.Ceiling, true, "retry after 8760h0m0s"},
		{retry.After(retry.Ceiling + 1), retry.Ceiling, true, "retry after 8760h0m0s"},
		{retry.After(math.MaxInt64), retry.Ceiling, true, "retry after 8760h0m0s"},
		{retry.GiveUp(), 0, false, "give up"},
		{retry.Decision{}, 0, false, "no decision"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			delay, again := tt.decision.Delay()
			is.Equal(delay, tt.delay)
			is.Equal(again, tt.again)
			is.Equal(tt.decision.String(), tt.text)
		})
	}
}
