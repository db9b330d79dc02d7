package typedtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/typed"
)

// DeadLetter is a message that failed for good, with its value.
type DeadLetter[T any] struct {
	queuetest.DeadLetter
	// Value is zero where Err is set.
	Value T
	// Err says why the payload does not decode. It is not the error that the
	// message failed with: that is DeadLetter.Error.
	Err error
}

// DeadLetters returns all dead letters of a queue that db sees, in the order of
// their ids. See [queuetest.DeadLetters].
func DeadLetters[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) []DeadLetter[T] {
	t.Helper()
	raw := queuetest.DeadLetters(t, db, q.Bytes())
	letters := make([]DeadLetter[T], len(raw))
	for i, d := range raw {
		v, err := q.Decode(d.ContentType(), d.Payload)
		letters[i] = DeadLetter[T]{d, v, err}
	}
	return letters
}

// RequireDead ends the test unless exactly one dead letter of the queue has a value
// that matches, and returns it. A nil match takes any, and is all that takes one
// that does not decode. The failure lists the letters that are there.
func RequireDead[T any](t testing.TB, db queuetest.DB, q typed.Queue[T], match func(T) bool) DeadLetter[T] {
	t.Helper()
	all := DeadLetters(t, db, q)
	var found []DeadLetter[T]
	for _, d := range all {
		if match == nil || d.Err == nil && match(d.Value) {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		t.Fatalf("typedtest: %d dead letters of queue %q match, not one; there are %s", len(found), q.Name(), listDead(all))
	}
	return found[0]
}

// RequireNoneDead ends the test where the queue has dead letters.
func RequireNoneDead[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) {
	t.Helper()
	if all := DeadLetters(t, db, q); len(all) > 0 {
		t.Fatalf("typedtest: queue %q has %d dead letters, and should have none: %s", q.Name(), len(all), listDead(all))
	}
}

func listDead[T any](all []DeadLetter[T]) string {
	return lines(all, func(b *strings.Builder, d DeadLetter[T]) {
		fmt.Fprintf(b, "\n  %d (%s: %q)", d.OriginalID, d.Reason, d.Error)
		if d.Err != nil {
			fmt.Fprintf(b, ": %v", d.Err)
			return
		}
		fmt.Fprintf(b, ": %+v", d.Value)
	})
}
