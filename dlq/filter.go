package dlq

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Filter selects letters: those that meet every condition that is set. The zero
// Filter selects all of them.
type Filter struct {
	// Queue and Reason are compared as they are; empty is any.
	Queue, Reason string
	// FailedAfter and FailedBefore bound FailedAt: not before the one, before
	// the other. Zero is no bound; beyond the years 1 to 9999 is [ErrInvalid].
	FailedAfter, FailedBefore time.Time
	// OlderThan is how long ago, at least, the message became a letter, by the
	// database's clock. Zero is any age; below zero is [ErrInvalid].
	OlderThan time.Duration
	// ErrorContains is a part of the error's text, as it is written there: no
	// pattern, upper and lower case differ. Empty is any text.
	ErrorContains string
	// IDs are ids of letters. nil is any id; a list that is not nil and empty
	// selects nothing.
	IDs []int64

	everything bool
}

// Everything is the filter that selects all letters and says so, for
// [Letters.Purge], which refuses the zero Filter.
func Everything() Filter { return Filter{everything: true} }

// empty says that a filter selects all without saying so.
func (f Filter) empty() bool {
	return !f.everything && f.Queue == "" && f.Reason == "" && f.FailedAfter.IsZero() && f.FailedBefore.IsZero() &&
		f.OlderThan == 0 && f.ErrorContains == "" && f.IDs == nil
}

// bind checks the filter and narrows it to the letters that l is about.
func (f Filter) bind(l Letters) (store.LetterFilter, error) {
	var problems []error
	refuse := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
	}
	for _, text := range []struct{ name, value string }{{"queue", f.Queue}, {"reason", f.Reason}, {"error text", f.ErrorContains}} {
		if !validText(text.value) {
			refuse("the %s is not valid text", text.name)
		}
	}
	for _, at := range []time.Time{f.FailedAfter, f.FailedBefore} {
		if y := at.UTC().Year(); y < 1 || y > 9999 {
			refuse("a time in the year %d", y)
		}
	}
	if f.OlderThan < 0 {
		refuse("older than %v is below zero", f.OlderThan)
	}
	switch {
	case l.queue == "" || f.Queue == l.queue:
	case f.Queue == "":
		f.Queue = l.queue
	default:
		refuse("queue is %q, but these are the letters of %q", f.Queue, l.queue)
	}
	return store.LetterFilter{
		Queue: f.Queue, Reason: f.Reason, Error: f.ErrorContains,
		FailedFrom: f.FailedAfter, FailedBefore: f.FailedBefore, OlderThan: f.OlderThan,
		IDs: f.IDs,
	}, errors.Join(problems...)
}

// validText says that a text column or parameter can hold s.
func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
