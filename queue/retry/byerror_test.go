package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue/retry"
)

var (
	errMissing = errors.New("no such account")
	errBusy    = errors.New("busy")
)

// statusError is an error of a type with a field to look at.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.code) }

// likeError says by its methods that it is other errors as well.
type likeError struct{}

func (likeError) Error() string        { return "like others" }
func (likeError) Is(target error) bool { return target == errBusy }
func (likeError) As(target any) bool {
	if e, ok := target.(**statusError); ok {
		*e = &statusError{429}
		return true
	}
	return false
}

// hollowError could wrap an error and does not.
type hollowError struct{}

func (hollowError) Error() string { return "hollow" }
func (hollowError) Unwrap() error { return nil }

// wait is a policy that is told from others by its delay.
func wait(d time.Duration) retry.Policy { return retry.Constant{Delay: d} }

func TestByError_FirstMatchDecides(t *testing.T) {
	t.Parallel()
	p := retry.ByError(wait(1*s),
		retry.Is(errMissing, retry.Never{}),
		retry.When(func(e *statusError) bool { return e.code == 429 }, wait(2*s)),
		retry.As[*statusError](wait(3*s)),
		retry.As[interface {
			error
			Timeout() bool
		}](wait(4*s)),
		retry.When(func(err error) bool { return strings.HasPrefix(err.Error(), "flaky") }, wait(5*s)),
		retry.Is(errBusy, wait(6*s)),
		retry.Is(errMissing, wait(7*s)), // behind the first one: never reached
	)
	for _, tt := range []struct {
		name string
		err  error
		want time.Duration
	}{
		{"nil error", nil, 1 * s},
		{"no rule", errors.New("other"), 1 * s},
		{"equal text is not the same error", errors.New("no such account"), 1 * s},
		{"wrapping nothing", hollowError{}, 1 * s},
		{"is", errMissing, never},
		{"is, wrapped", fmt.Errorf("load: %w", errMissing), never},
		{"is, wrapped twice", fmt.Errorf("handle: %w", fmt.Errorf("load: %w", errMissing)), never},
		{"is, joined", errors.Join(errors.New("other"), errMissing), never},
		{"is, joined and wrapped", fmt.Errorf("handle: %w", errors.Join(errBusy, fmt.Errorf("load: %w", errMissing))), never},
		{"is, two verbs", fmt.Errorf("%w, %w", errBusy, errMissing), never},
		{"text only", fmt.Errorf("load: %v", errMissing), 1 * s},
		{"order of rules, not of errors", errors.Join(&statusError{500}, errMissing), never},
		{"when", &statusError{429}, 2 * s},
		{"when, wrapped", fmt.Errorf("call: %w", &statusError{429}), 2 * s},
		{"when, second of two joined", errors.Join(&statusError{500}, &statusError{429}), 2 * s},
		{"when, deep in a joined one", errors.Join(errBusy, fmt.Errorf("call: %w", errors.Join(&statusError{500}, &statusError{429}))), 2 * s},
		{"as", &statusError{500}, 3 * s},
		{"as, wrapped", fmt.Errorf("call: %w", &statusError{500}), 3 * s},
		{"as, joined", errors.Join(errBusy, &statusError{500}), 3 * s},
		{"as an interface", context.DeadlineExceeded, 4 * s},
		{"when of any error", errors.New("flaky network"), 5 * s},
		{"when of any error, wrapped", fmt.Errorf("call: %w", errors.New("flaky network")), 5 * s},
		{"methods Is and As", likeError{}, 2 * s},
		{"methods Is and As, wrapped", fmt.Errorf("call: %w", likeError{}), 2 * s},
		{"later rule", errBusy, 6 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			f := failure(1)
			f.Err = tt.err
			got, err := retry.Resolve(p, f)
			is.NoErr(err)
			is.Equal(delayed(got), tt.want)
		})
	}
}

func TestByError_ChosenPolicySeesTheFailure(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	want := retry.Failure{Queue: "orders.placed", ID: 7, Attempt: 3, Elapsed: m, Err: errBusy}
	var got retry.Failure
	spy := retry.Func(func(f retry.Failure) retry.Decision { got = f; return retry.GiveUp() })
	retry.ByError(retry.Never{}, retry.Is(errBusy, spy)).Decide(want)
	is.Equal(got, want)
	got = retry.Failure{}
	retry.ByError(spy).Decide(want)
	is.Equal(got, want)
}

func TestByError_Nests(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	inner := retry.ByError(wait(2*s), retry.Is(errMissing, wait(3*s)))
	p := retry.ByError(inner, retry.As[*fs.PathError](inner), retry.Is(errBusy, wait(4*s)))
	is.NoErr(retry.Validate(p))
	for err, want := range map[error]time.Duration{
		errBusy:                        4 * s,
		errMissing:                     3 * s,
		context.Canceled:               2 * s,
		&fs.PathError{Err: errMissing}: 3 * s,
		&fs.PathError{Err: errors.ErrUnsupported}: 2 * s,
	} {
		is.Equal(delayed(p.Decide(retry.Failure{Attempt: 1, Err: err})), want)
	}
}

func TestByError_KeepsItsOwnRules(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	rules := []retry.Rule{retry.Is(errBusy, wait(2*s))}
	p := retry.ByError(wait(1*s), rules...)
	rules[0] = retry.Is(errBusy, retry.Never{})
	is.Equal(p.Decide(retry.Failure{Attempt: 1, Err: errBusy}), retry.After(2*s))
}
