package retry_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// returns is a policy that always decides the same.
func returns(d retry.Decision) retry.Policy {
	return retry.Func(func(retry.Failure) retry.Decision { return d })
}

func panics(v any) retry.Policy {
	return retry.Func(func(retry.Failure) retry.Decision { panic(v) })
}

func TestResolve_PassesDecisionsOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		policy  retry.Policy
		attempt int64
		want    retry.Decision
	}{
		{"delay", returns(retry.After(3 * s)), 1, retry.After(3 * s)},
		{"give up", returns(retry.GiveUp()), 1, retry.GiveUp()},
		{"at once", returns(retry.After(0)), 1, retry.After(0)},
		{"at once, last time", returns(retry.After(0)), 1000, retry.After(0)},
		{"short delay after many attempts", returns(retry.After(ms)), math.MaxInt64, retry.After(ms)},
		{"give up after many attempts", returns(retry.GiveUp()), math.MaxInt64, retry.GiveUp()},
		{"above the ceiling", returns(retry.After(math.MaxInt64)), 1, retry.After(retry.Ceiling)},
		{"constant", retry.Constant{Delay: s}, 2, retry.After(s)},
		{"limit reached", retry.Constant{Delay: s}, 10, retry.GiveUp()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			got, err := retry.Resolve(tt.policy, failure(tt.attempt))
			is.NoErr(err)
			is.Equal(got, tt.want)
		})
	}
}

func TestResolve_FallsBackToDefault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		policy retry.Policy
		cause  error  // by errors.Is, where not nil
		text   string // the message, from the type of the policy on
	}{
		{"nil", nil, retry.ErrNilPolicy, "by <nil>: the policy is nil"},
		{"panic with text", panics("oops"), nil, "by retry.Func: the policy panicked: oops"},
		{"panic with an error", panics(errMissing), errMissing, "by retry.Func: the policy panicked: no such account"},
		{"panic with nil", panics(nil), nil, "by retry.Func: the policy panicked: panic called with nil argument"},
		{"nil pointer", (*retry.Linear)(nil), nil, "by *retry.Linear: the policy panicked: "},
		{"panic in a condition", retry.ByError(retry.Never{}, retry.When(func(error) bool { panic("oops") }, retry.Never{})), nil, "by *retry.byError: the policy panicked: oops"},
		{"zero decision", returns(retry.Decision{}), retry.ErrNoDecision, "by retry.Func: the policy made no decision"},
		{"nil func", retry.Func(nil), retry.ErrNoDecision, "by retry.Func: the policy made no decision: retry.Func is nil"},
		{"no fallback", retry.ByError(nil), retry.ErrNilPolicy, "by *retry.byError: the policy made no decision: retry.ByError: fallback: the policy is nil"},
		{"rule without a policy", retry.ByError(retry.Never{}, retry.As[error](nil)), retry.ErrNoDecision, "by *retry.byError: the policy made no decision: retry.ByError: rule 1: retry.As[error]: the policy is nil"},
		{"negative delay", returns(retry.After(-s)), retry.ErrNegativeDelay, "by retry.Func: the policy asked for a negative delay, -1s"},
		{"least delay", returns(retry.After(math.MinInt64)), retry.ErrNegativeDelay, "by retry.Func: the policy asked for a negative delay, -2562047h47m16.854775808s"},
		{"refused constant", retry.Constant{Delay: -s}, retry.ErrNoDecision, "by retry.Constant: the policy made no decision: retry.Constant: Delay is -1s, below zero"},
		{"refused linear", retry.Linear{Jitter: math.NaN()}, retry.ErrNoDecision, "by retry.Linear: the policy made no decision: retry.Linear: Jitter is NaN, not a fraction from 0 to 1"},
		{"refused exponential", retry.Exponential{Factor: math.NaN()}, retry.ErrNoDecision, "by retry.Exponential: the policy made no decision: retry.Exponential: Factor is NaN, not a finite number from 1"},
		{"unbounded without a delay", retry.Constant{MaxAttempts: retry.Unlimited}, retry.ErrNoDecision, "by retry.Constant: the policy made no decision: retry.Constant: more than 1000 attempts need a delay of at least 1ms, not 0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			for attempt := range int64(12) {
				got, err := retry.Resolve(tt.policy, failure(attempt))
				is.Equal(got, retry.Default().Decide(failure(attempt)))
				is.True(delayed(got) == never || delayed(got) >= 800*ms)
				is.Equal(delayed(got) == never, attempt >= 10)
				is.True(err != nil)
				is.True(tt.cause == nil || errors.Is(err, tt.cause))
			}
			_, err := retry.Resolve(tt.policy, failure(3))
			is.True(strings.HasPrefix(err.Error(), `retry: decide on message 1 of "orders.placed" after attempt 3 `+tt.text))
		})
	}
}

func TestResolve_KeepsTheStackOfAPanic(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, err := retry.Resolve(panics("oops"), failure(1))
	var panicked *retry.PanicError
	is.True(errors.As(err, &panicked))
	is.Equal(panicked.Value, "oops")
	is.True(strings.Contains(string(panicked.Stack), "resolve_test.go"))
}

func TestResolve_EndsHotLoops(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, 1, ms - 1} {
		t.Run(delay.String(), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			for attempt := int64(1); attempt <= 1000; attempt++ {
				got, err := retry.Resolve(returns(retry.After(delay)), failure(attempt))
				is.NoErr(err)
				is.Equal(got, retry.After(delay))
			}
			for _, attempt := range []int64{1001, 1002, 1_000_000, math.MaxInt64} {
				got, err := retry.Resolve(returns(retry.After(delay)), failure(attempt))
				is.True(errors.Is(err, retry.ErrHotLoop))
				is.Equal(got, retry.After(5*m)) // slowed down, not ended: it asked to go on
			}
		})
	}
}

func TestResolve_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	p := retry.ByError(retry.Default(),
		retry.Is(errMissing, retry.Never{}),
		retry.When(func(e *statusError) bool { return e.code == 429 }, retry.Linear{Step: s, Jitter: 0.5}),
		retry.Is(errBusy, panics("oops")),
	)
	errs := []error{nil, errMissing, errBusy, &statusError{429}, &statusError{500}}
	var results [8][1000]retry.Decision
	var wg sync.WaitGroup
	for g := range results {
		wg.Go(func() {
			for i := range results[g] {
				f := retry.Failure{ID: int64(i), Attempt: int64(i%12) + 1, Err: errs[i%len(errs)]}
				results[g][i], _ = retry.Resolve(p, f)
			}
		})
	}
	wg.Wait()
	for g := range results {
		is.Equal(results[g], results[0])
	}
}
