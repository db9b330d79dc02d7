package retry

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Rule gives errors of one kind a policy of their own in [ByError]. Make one
// with [Is], [As] or [When].
type Rule struct {
	match   func(error) bool
	policy  Policy
	name    string // as the rule is written, for messages
	problem string // what is wrong with it, empty where nothing is
}

// ByError decides by the error of the failure: the first rule that matches
// gives the policy, and fallback where none does. A failure without an error
// matches no rule.
//
// The policy that is chosen sees the failure as it is. Attempts and elapsed time
// are those of the message, whatever its earlier errors were: with two kinds of
// error in turn, a limit of three attempts is reached at the third failure.
//
// A policy from ByError may be a rule's policy or fallback in another one. It is
// safe for concurrent use.
func ByError(fallback Policy, rules ...Rule) Policy {
	return &byError{fallback, slices.Clone(rules)}
}

// Is matches an error as [errors.Is] does: target itself, or wrapped or joined
// at any depth.
func Is(target error, p Policy) Rule {
	r := Rule{policy: p, name: fmt.Sprintf("retry.Is(%v)", target)}
	if target == nil {
		r.problem = "the target is nil"
		return r
	}
	r.match = func(err error) bool { return errors.Is(err, target) }
	return r
}

// As matches an error of type E as [errors.As] does: itself, or wrapped or
// joined at any depth. E may be an interface.
func As[E error](p Policy) Rule {
	return Rule{
		policy: p,
		name:   fmt.Sprintf("retry.As[%v]", reflect.TypeFor[E]()),
		match: func(err error) bool {
			_, ok := errors.AsType[E](err)
			return ok
		},
	}
}

// When matches an error of type E for which match reports true: itself, or
// wrapped or joined at any depth. Unlike [As] it goes on behind the first E that
// it finds, so that each error of a joined one is asked about. match has to be
// pure, as [Policy] says.
func When[E error](match func(E) bool, p Policy) Rule {
	r := Rule{policy: p, name: fmt.Sprintf("retry.When[%v]", reflect.TypeFor[E]())}
	if match == nil {
		r.problem = "the condition is nil"
		return r
	}
	r.match = func(err error) bool { return some(err, match) }
	return r
}

// some reports whether an E for which match holds is among err and the errors
// that it wraps. It goes through them in the order of the errors package.
func some[E error](err error, match func(E) bool) bool {
	for err != nil {
		if e, ok := err.(E); ok && match(e) {
			return true
		}
		if x, ok := err.(interface{ As(any) bool }); ok {
			if e := new(E); x.As(e) && match(*e) {
				return true
			}
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			return slices.ContainsFunc(x.Unwrap(), func(e error) bool { return some(e, match) })
		default:
			return false
		}
	}
	return false
}

type byError struct {
	fallback Policy
	rules    []Rule
}

func (p *byError) Decide(f Failure) Decision {
	chosen := p.fallback
	for _, r := range p.rules {
		if r.match != nil && r.match(f.Err) {
			chosen = r.policy
			break
		}
	}
	if chosen == nil {
		return Decision{}
	}
	return chosen.Decide(f)
}

func (p *byError) Validate() error {
	var problems []error
	if err := Validate(p.fallback); err != nil {
		problems = append(problems, fmt.Errorf("retry.ByError: fallback: %w", err))
	}
	for i, r := range p.rules {
		if err := r.validate(); err != nil {
			problems = append(problems, fmt.Errorf("retry.ByError: rule %d: %w", i+1, err))
		}
	}
	return errors.Join(problems...)
}

func (r Rule) validate() error {
	var bad error
	switch {
	case r.problem != "":
		bad = fmt.Errorf("%s: %s", r.name, r.problem)
	case r.match == nil:
		return errors.New("the rule is empty")
	}
	if err := Validate(r.policy); err != nil {
		bad = join(bad, fmt.Errorf("%s: %w", r.name, err))
	}
	return bad
}
