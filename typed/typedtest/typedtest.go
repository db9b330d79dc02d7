// Package typedtest is for tests of code that publishes to typed queues. See
// package queuetest, which does the same for bytes, for how such a test goes.
package typedtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/typed"
)

// Message is a message in the table with its value.
type Message[T any] struct {
	queuetest.Message
	Value T
}

// Messages returns all messages of a queue that the transaction sees, timers too,
// in the order of their ids. It ends the test where one of them does not decode.
// See [queuetest.Messages].
func Messages[T any](t testing.TB, tx queue.Tx, q typed.Queue[T]) []Message[T] {
	t.Helper()
	raw := queuetest.Messages(t, tx, q.Bytes())
	messages := make([]Message[T], len(raw))
	for i, m := range raw {
		v, err := q.Decode(m.ContentType(), m.Payload)
		if err != nil {
			t.Fatalf("typedtest: message %d of queue %q: %v", m.ID, m.Queue, err)
		}
		messages[i] = Message[T]{m, v}
	}
	return messages
}

// RequirePublished ends the test unless exactly one message of the queue has a
// value that matches, and returns it. A nil match takes any. The failure lists the
// values that are there.
func RequirePublished[T any](t testing.TB, tx queue.Tx, q typed.Queue[T], match func(T) bool) Message[T] {
	t.Helper()
	all := Messages(t, tx, q)
	found := matching(all, match)
	if len(found) != 1 {
		t.Fatalf("typedtest: %d messages of queue %q match, not one; there are %s", len(found), q.Name(), list(all))
	}
	return found[0]
}

// RequireNotPublished ends the test where a message of the queue has a value that
// matches. A nil match takes any.
func RequireNotPublished[T any](t testing.TB, tx queue.Tx, q typed.Queue[T], match func(T) bool) {
	t.Helper()
	if found := matching(Messages(t, tx, q), match); len(found) > 0 {
		t.Fatalf("typedtest: %d messages of queue %q match, and none should: %s", len(found), q.Name(), list(found))
	}
}

// RequireScheduled ends the test unless the queue has a timer of that id, and
// returns it.
func RequireScheduled[T any](t testing.TB, tx queue.Tx, q typed.Queue[T], timerID string) Message[T] {
	t.Helper()
	all := Messages(t, tx, q)
	for _, m := range all {
		if m.TimerID == timerID {
			return m
		}
	}
	t.Fatalf("typedtest: queue %q has no timer %q; there are %s", q.Name(), timerID, list(all))
	panic("unreachable")
}

func matching[T any](all []Message[T], match func(T) bool) (found []Message[T]) {
	for _, m := range all {
		if match == nil || match(m.Value) {
			found = append(found, m)
		}
	}
	return found
}

// most bounds what a failure lists.
const most = 20

func list[T any](all []Message[T]) string {
	if len(all) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, m := range all {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(all)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %d", m.ID)
		if m.TimerID != "" {
			fmt.Fprintf(&b, " (timer %q)", m.TimerID)
		}
		fmt.Fprintf(&b, ": %+v", m.Value)
	}
	return b.String()
}
