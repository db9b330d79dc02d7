package lease

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// signalled reports whether the ledger asked for a look, and takes the signal.
func signalled(l *ledger) bool {
	select {
	case <-l.signal:
		return true
	default:
		return false
	}
}

func TestLedger_IsDueWhenNothingElseRunsOrAfterLingering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		l := newLedger()
		_, any := l.due(time.Now())
		is.True(!any)

		l.opened(2)
		l.add(entry{})
		is.True(signalled(l)) // the first: somebody must set a timer
		at, any := l.due(time.Now())
		is.True(any)
		is.True(at.Equal(time.Now().Add(linger)))

		l.add(entry{})
		is.True(signalled(l)) // the last
		at, any = l.due(time.Now())
		is.True(any)
		is.True(!at.After(time.Now()))
		is.Equal(len(l.take(time.Now())), 2)
		_, any = l.due(time.Now())
		is.True(!any)
	})
}

func TestLedger_SignalsOnlyWhenItMatters(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLedger()
	l.opened(2 * enough)
	var signals []int
	for i := range 2 * enough {
		l.add(entry{})
		if signalled(l) {
			signals = append(signals, i+1)
		}
	}
	is.Equal(signals, []int{1, enough, 2 * enough})
	at, any := l.due(time.Time{})
	is.True(any)
	is.True(at.IsZero()) // enough: at once
}

func TestLedger_WhatCouldNotBeWrittenComesFirstAndIsMarked(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLedger()
	l.opened(3)
	l.add(entry{outcome: store.Outcome{Reason: "a"}}, entry{outcome: store.Outcome{Reason: "b"}})
	tried := l.take(time.Now())
	l.add(entry{outcome: store.Outcome{Reason: "c"}})
	l.giveBack(tried)

	got := l.take(time.Now())
	is.Equal(len(got), 3)
	for i, want := range []struct {
		reason string
		again  bool
	}{{"a", true}, {"b", true}, {"c", false}} {
		is.Equal(got[i].outcome.Reason, want.reason)
		is.Equal(got[i].again, want.again)
	}
}

func TestLedger_WhatIsLockedComesBackAfterAPause(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLedger()
	now := time.Now()
	l.postpone([]entry{{outcome: store.Outcome{Reason: "a"}}}, now)
	l.postpone([]entry{{outcome: store.Outcome{Reason: "b"}}}, now.Add(lockedPause/2)) // keeps a waiting no longer

	at, any := l.due(now)
	is.True(any)
	is.Equal(at, now.Add(lockedPause))
	l.opened(1)
	l.add(entry{outcome: store.Outcome{Reason: "c"}})
	got := l.take(now)
	is.Equal(len(got), 1)
	is.Equal(got[0].outcome.Reason, "c") // which need not wait
	got = l.take(at)
	is.Equal(len(got), 2)
	for _, en := range got {
		is.True(en.outcome.Locked)
		is.True(!en.again)
	}
	_, any = l.due(at)
	is.True(!any)
}
