package retry_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue/retry"
)

// own is a policy with a check of its own.
type own struct {
	retry.Never
	problem error
}

func (p own) Validate() error { return p.problem }

func TestValidate_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * h
	for _, tt := range []struct {
		name   string
		policy retry.Policy
		want   string // one problem a line; empty where the policy is accepted
	}{
		{"nil", nil, "the policy is nil"},
		{"never", retry.Never{}, ""},
		{"func", retry.Func(func(retry.Failure) retry.Decision { return retry.GiveUp() }), ""},
		{"nil func", retry.Func(nil), "retry.Func is nil"},
		{"own, accepted", own{}, ""},
		{"own, refused", own{problem: errMissing}, "no such account"},
		{"own, no check", struct{ retry.Policy }{retry.Never{}}, ""},

		{"constant, zero", retry.Constant{}, ""},
		{"linear, zero", retry.Linear{}, ""},
		{"exponential, zero", retry.Exponential{}, ""},
		{"exponential by pointer", &retry.Exponential{Jitter: 2}, "retry.Exponential: Jitter is 2, not a fraction from 0 to 1"},
		{"all set", retry.Exponential{First: m, Factor: 3, MaxDelay: h, Jitter: 1, MaxAttempts: 1, MaxElapsed: week}, ""},

		{"delay below zero", retry.Constant{Delay: -1}, "retry.Constant: Delay is -1ns, below zero"},
		{"delay above the ceiling", retry.Constant{Delay: retry.Ceiling + 1}, "retry.Constant: Delay is 8760h0m0.000000001s, above the longest delay of 365 days"},
		{"delay at the ceiling", retry.Constant{Delay: retry.Ceiling}, ""},
		{"first below zero", retry.Linear{First: -s, Step: s}, "retry.Linear: First is -1s, below zero"},
		{"step below zero", retry.Linear{First: m, Step: -s}, "retry.Linear: Step is -1s, below zero"},
		{"step above the ceiling", retry.Linear{Step: math.MaxInt64}, "retry.Linear: Step is 2562047h47m16.854775807s, above the longest delay of 365 days"},
		{"first of exponential below zero", retry.Exponential{First: math.MinInt64}, "retry.Exponential: First is -2562047h47m16.854775808s, below zero"},
		{"cap below zero", retry.Exponential{MaxDelay: -1}, "retry.Exponential: MaxDelay is -1ns, below zero"},
		{"cap above the ceiling", retry.Constant{MaxDelay: 2 * retry.Ceiling}, "retry.Constant: MaxDelay is 17520h0m0s, above the longest delay of 365 days"},
		{"first above the cap", retry.Exponential{First: 10 * m, MaxDelay: 5 * m}, "retry.Exponential: First is 10m0s, above MaxDelay, 5m0s"},
		{"first at the cap", retry.Exponential{First: 5 * m, MaxDelay: 5 * m}, ""},
		{"step above the cap", retry.Linear{Step: 10 * m, MaxDelay: 5 * m}, ""},
		{"elapsed below zero", retry.Constant{MaxElapsed: -s}, "retry.Constant: MaxElapsed is -1s, below zero"},
		{"attempts below zero", retry.Linear{MaxAttempts: -2}, "retry.Linear: MaxAttempts is -2, below zero and not retry.Unlimited"},

		{"jitter below zero", retry.Constant{Jitter: -0.1}, "retry.Constant: Jitter is -0.1, not a fraction from 0 to 1"},
		{"jitter above one", retry.Constant{Jitter: 20}, "retry.Constant: Jitter is 20, not a fraction from 0 to 1"},
		{"jitter of one", retry.Constant{Jitter: 1}, ""},
		{"jitter not a number", retry.Linear{Jitter: math.NaN()}, "retry.Linear: Jitter is NaN, not a fraction from 0 to 1"},
		{"factor below zero", retry.Exponential{Factor: -2}, "retry.Exponential: Factor is -2, not a finite number from 1"},
		{"factor below one", retry.Exponential{Factor: 0.99}, "retry.Exponential: Factor is 0.99, not a finite number from 1"},
		{"factor of one", retry.Exponential{Factor: 1}, ""},
		{"factor infinite", retry.Exponential{Factor: math.Inf(1)}, "retry.Exponential: Factor is +Inf, not a finite number from 1"},
		{"factor infinite below zero", retry.Exponential{Factor: math.Inf(-1)}, "retry.Exponential: Factor is -Inf, not a finite number from 1"},
		{"factor not a number", retry.Exponential{Factor: math.NaN()}, "retry.Exponential: Factor is NaN, not a finite number from 1"},

		{"no delay, 1,000 attempts", retry.Constant{MaxAttempts: 1000}, ""},
		{"no delay, 1,001 attempts", retry.Constant{MaxAttempts: 1001}, "retry.Constant: more than 1000 attempts need a delay of at least 1ms, not 0s"},
		{"no delay, unlimited", retry.Constant{MaxAttempts: retry.Unlimited}, "retry.Constant: more than 1000 attempts need a delay of at least 1ms, not 0s"},
		{"no delay, limited by time only", retry.Constant{MaxAttempts: retry.Unlimited, MaxElapsed: h}, "retry.Constant: more than 1000 attempts need a delay of at least 1ms, not 0s"},
		{"hardly a delay, unlimited", retry.Constant{Delay: ms - 1, MaxAttempts: retry.Unlimited}, "retry.Constant: more than 1000 attempts need a delay of at least 1ms, not 999.999µs"},
		{"a delay, unlimited", retry.Constant{Delay: ms, MaxAttempts: retry.Unlimited}, ""},
		{"linear, no delay, unlimited", retry.Linear{MaxAttempts: retry.Unlimited}, "retry.Linear: more than 1000 attempts need a delay of at least 1ms, not 0s"},
		{"linear, only a step, unlimited", retry.Linear{Step: ms, MaxAttempts: retry.Unlimited}, ""},
		{"linear, only a first delay, unlimited", retry.Linear{First: ms, MaxAttempts: retry.Unlimited}, ""},
		{"linear, low cap, unlimited", retry.Linear{Step: s, MaxDelay: 1, MaxAttempts: retry.Unlimited}, "retry.Linear: more than 1000 attempts need a delay of at least 1ms, not 1ns"},
		{"exponential, unlimited", retry.Exponential{MaxAttempts: retry.Unlimited}, ""},
		{"exponential, low cap, unlimited", retry.Exponential{MaxDelay: 1, MaxAttempts: retry.Unlimited}, "retry.Exponential: more than 1000 attempts need a delay of at least 1ms, not 1ns"},

		{
			"all at once",
			retry.Exponential{First: -s, Factor: math.NaN(), MaxDelay: -m, Jitter: 3, MaxAttempts: -9, MaxElapsed: -h},
			"retry.Exponential: First is -1s, below zero\n" +
				"retry.Exponential: MaxDelay is -1m0s, below zero\n" +
				"retry.Exponential: Jitter is 3, not a fraction from 0 to 1\n" +
				"retry.Exponential: MaxAttempts is -9, below zero and not retry.Unlimited\n" +
				"retry.Exponential: MaxElapsed is -1h0m0s, below zero\n" +
				"retry.Exponential: Factor is NaN, not a finite number from 1",
		},

		{"by error", retry.ByError(retry.Default(), retry.Is(errBusy, retry.Never{})), ""},
		{"by error, no rules", retry.ByError(retry.Default()), ""},
		{"by error, no fallback", retry.ByError(nil), "retry.ByError: fallback: the policy is nil"},
		{
			"by error, all at once",
			retry.ByError(retry.Constant{Delay: -s},
				retry.Is(nil, retry.Never{}),
				retry.Is(errBusy, nil),
				retry.As[*statusError](retry.Linear{Jitter: 2}),
				retry.When[*statusError](nil, retry.Never{}),
				retry.When[*statusError](nil, nil),
				retry.Rule{},
				retry.Is(errBusy, retry.ByError(nil)),
			),
			"retry.ByError: fallback: retry.Constant: Delay is -1s, below zero\n" +
				"retry.ByError: rule 1: retry.Is(<nil>): the target is nil\n" +
				"retry.ByError: rule 2: retry.Is(busy): the policy is nil\n" +
				"retry.ByError: rule 3: retry.As[*retry_test.statusError]: retry.Linear: Jitter is 2, not a fraction from 0 to 1\n" +
				"retry.ByError: rule 4: retry.When[*retry_test.statusError]: the condition is nil\n" +
				"retry.ByError: rule 5: retry.When[*retry_test.statusError]: the condition is nil\n" +
				"retry.When[*retry_test.statusError]: the policy is nil\n" +
				"retry.ByError: rule 6: the rule is empty\n" +
				"retry.ByError: rule 7: retry.Is(busy): retry.ByError: fallback: the policy is nil",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			got := ""
			if err := retry.Validate(tt.policy); err != nil {
				got = err.Error()
			}
			is.Equal(got, tt.want)
		})
	}
}

func TestValidate_KeepsCausesReachable(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	is.True(errors.Is(retry.Validate(nil), retry.ErrNilPolicy))
	is.True(errors.Is(retry.Validate(retry.ByError(nil)), retry.ErrNilPolicy))
	is.True(errors.Is(retry.Validate(retry.ByError(own{problem: errMissing})), errMissing))
}

func TestValidate_TurnsPanicsIntoErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		policy retry.Policy
		prefix string
	}{
		{"own, nil pointer", (*own)(nil), "validate *retry_test.own: the policy panicked: "},
		{"nil pointer", (*retry.Exponential)(nil), "validate *retry.Exponential: the policy panicked: "},
		{"in a rule", retry.ByError(retry.Never{}, retry.Is(errBusy, (*own)(nil))), "retry.ByError: rule 1: retry.Is(busy): validate *retry_test.own: the policy panicked: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			err := retry.Validate(tt.policy)
			is.True(err != nil)
			is.True(strings.HasPrefix(err.Error(), tt.prefix))
			var panicked *retry.PanicError
			is.True(errors.As(err, &panicked))
			is.True(len(panicked.Stack) > 0)
		})
	}
}
