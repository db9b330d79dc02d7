// Package typedtest is for tests of code that publishes to typed queues, and of
// their handlers. It reads the values of what was published, what is pending,
// scheduled and dead: in a transaction on PostgreSQL, or in a box in memory.
//
//	m := typedtest.RequirePublished(t, tx, placed, func(o OrderPlaced) bool { return o.ID == 7 })
//
// See package queuetest, which does the same for bytes, for how such tests go, and
// for the box.
package typedtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/typed"
)

// Message is a message in the table with its value.
type Message[T any] struct {
	queuetest.Message
	Value T
}

// Messages returns all messages of a queue that db sees, timers too, in the order
// of their ids. It ends the test where one of them does not decode. See
// [queuetest.Messages].
func Messages[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) []Message[T] {
	t.Helper()
	return decode(t, q, queuetest.Messages(t, db, q.Bytes()))
}

// Pending are the messages that wait for a worker. See [queuetest.Pending].
func Pending[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) []Message[T] {
	t.Helper()
	return decode(t, q, queuetest.Pending(t, db, q.Bytes()))
}

// Scheduled are the messages whose time is still to come. See
// [queuetest.Scheduled].
func Scheduled[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) []Message[T] {
	t.Helper()
	return decode(t, q, queuetest.Scheduled(t, db, q.Bytes()))
}

// Published are the messages that were published: on a [queuetest.Box] those too
// that have been handled since. See [queuetest.Published].
func Published[T any](t testing.TB, db queuetest.DB, q typed.Queue[T]) []Message[T] {
	t.Helper()
	return decode(t, q, queuetest.Published(t, db, q.Bytes()))
}

// RequirePublished ends the test unless exactly one message of [Published] has a
// value that matches, and returns it. A nil match takes any. The failure lists the
// values that are there.
func RequirePublished[T any](t testing.TB, db queuetest.DB, q typed.Queue[T], match func(T) bool) Message[T] {
	t.Helper()
	all := Published(t, db, q)
	found := matching(all, match)
	if len(found) != 1 {
		t.Fatalf("typedtest: %d messages of queue %q match, not one; there are %s", len(found), q.Name(), list(all))
	}
	return found[0]
}

// RequireNotPublished ends the test where a message of [Published] has a value that
// matches. A nil match takes any.
func RequireNotPublished[T any](t testing.TB, db queuetest.DB, q typed.Queue[T], match func(T) bool) {
	t.Helper()
	if found := matching(Published(t, db, q), match); len(found) > 0 {
		t.Fatalf("typedtest: %d messages of queue %q match, and none should: %s", len(found), q.Name(), list(found))
	}
}

// RequireScheduled ends the test unless the queue has a timer of that id, and
// returns it.
func RequireScheduled[T any](t testing.TB, db queuetest.DB, q typed.Queue[T], timerID string) Message[T] {
	t.Helper()
	all := Messages(t, db, q)
	for _, m := range all {
		if m.TimerID == timerID {
			return m
		}
	}
	t.Fatalf("typedtest: queue %q has no timer %q; there are %s", q.Name(), timerID, list(all))
	panic("unreachable")
}

func decode[T any](t testing.TB, q typed.Queue[T], raw []queuetest.Message) []Message[T] {
	t.Helper()
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
	return lines(all, func(b *strings.Builder, m Message[T]) {
		fmt.Fprintf(b, "\n  %d", m.ID)
		if m.TimerID != "" {
			fmt.Fprintf(b, " (timer %q)", m.TimerID)
		}
		fmt.Fprintf(b, ": %+v", m.Value)
	})
}

// lines has a line of each, as far as they go.
func lines[E any](all []E, line func(*strings.Builder, E)) string {
	if len(all) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, e := range all {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(all)-most)
			break
		}
		line(&b, e)
	}
	return b.String()
}
