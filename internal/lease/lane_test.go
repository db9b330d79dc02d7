package lease

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// rows are n claimed messages, the last of which was due at last.
func rows(n int, last time.Time) store.Batch {
	b := store.Batch{Messages: make([]store.Claimed, n)}
	for i := range b.Messages {
		b.Messages[i].DueAt = last.Add(-time.Duration(n-1-i) * time.Microsecond)
		b.Messages[i].Payload = []byte("payload")
	}
	return b
}

func TestLane_TargetFollowsRunTimes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		ahead  int
		ran    time.Duration // of each of the messages so far; zero: none yet
		target int
	}{
		{name: "none ahead", ahead: 0, ran: time.Millisecond, target: 8},
		{name: "a fixed number", ahead: 5, ran: time.Millisecond, target: 13},
		{name: "adaptive, nothing timed yet", ahead: -1, target: 8},
		{name: "adaptive, slow", ahead: -1, ran: time.Second, target: 8},
		{name: "adaptive, 10 ms", ahead: -1, ran: 10 * time.Millisecond, target: 8 + 40},
		{name: "adaptive, fast", ahead: -1, ran: time.Microsecond, target: 8 + maxAhead},
		{name: "adaptive, too fast for the clock", ahead: -1, ran: time.Nanosecond, target: 8 + maxAhead},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			l := newLane(Queue{Concurrency: 4, Batch: 2, Ahead: tt.ahead})
			for range 100 {
				if tt.ran > 0 {
					l.ran(2*tt.ran, 2)
				}
			}
			is.Equal(l.target(), tt.target)
		})
	}
}

func TestLane_TargetGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 1, Batch: 1, Ahead: -1})
	l.ran(time.Millisecond, 1)
	is.Equal(l.target(), 101)
	for range 100 {
		l.ran(50*time.Millisecond, 1)
	}
	is.Equal(l.target(), 3)
	for range 100 {
		l.ran(time.Millisecond, 1)
	}
	is.True(l.target() > 90)
}

func TestLane_LargePayloadsBoundWhatIsAheadAndNotTheSlots(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 4, Batch: 10, Ahead: 1000})
	b := rows(1, time.Now())
	b.Messages[0].Payload = make([]byte, 1<<20)
	l.took(store.Claim{Limit: 1}, b, time.Now(), time.Now(), true)
	is.Equal(l.target(), 32) // 32 MiB, from the first one on

	b.Messages[0].Payload = make([]byte, maxBytesAhead)
	for range 100 {
		l.took(store.Claim{Limit: 1}, b, time.Now(), time.Now(), true)
	}
	is.Equal(l.target(), 4) // one for each slot, however large
}

func TestLane_RoomWaitsUntilHalfIsFree(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 2, Batch: 1, Ahead: 8})
	l.inHand = 6
	l.work <- &hand{}
	is.Equal(l.room(), 0) // 4 of 10 are free
	l.freeing = 1
	is.Equal(l.room(), 5) // one more with this round trip
	l.freeing = 0
	<-l.work
	is.Equal(l.room(), 4) // the slots are about to run dry
	l.inHand = 12
	is.Equal(l.room(), 0) // the target has shrunk
}

func TestLane_FloorTrailsThePositionAndSweepsNowAndThen(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 1, Batch: 1, Ahead: 10})
	now := time.Now()
	due := now.UTC().Round(0)
	is.True(l.claim(now).Since.IsZero()) // nothing is known

	l.took(l.claim(now), rows(1, due), now, now.Add(40*time.Millisecond), true)
	now = now.Add(40 * time.Millisecond)
	is.True(l.claim(now).Since.Equal(due.Add(-trail)))
	gap := 190 * time.Millisecond // a quarter of 40 ms is 5 % of 200 ms
	is.True(!l.claim(now.Add(gap - time.Millisecond)).Since.IsZero())
	is.True(l.claim(now.Add(gap)).Since.IsZero())

	// An empty claim with a floor says when to look below it.
	l.hot = true
	l.took(l.claim(now), store.Batch{}, now, now, true)
	is.True(!l.hot)
	is.True(l.wake.Equal(now.Add(gap)))

	// However long the sweeps take, the next one comes.
	for range 20 {
		l.took(store.Claim{Limit: 1}, store.Batch{}, now, now.Add(time.Hour), true)
		now = now.Add(time.Hour)
	}
	is.True(!l.claim(now.Add(maxSweepGap - time.Millisecond)).Since.IsZero())
	is.True(l.claim(now.Add(maxSweepGap)).Since.IsZero())
}

func TestLane_ASweepThatFindsMuchMovesTheFloorBack(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 1, Batch: 1, Ahead: 10})
	now := time.Now()
	due := now.UTC().Round(0)
	full := store.Claim{Limit: 10}
	l.took(full, rows(10, due), now, now.Add(time.Second), true)

	// Others committed late: there may be more of them above.
	old := due.Add(-time.Hour)
	l.took(full, rows(10, old), now, now.Add(time.Second), true)
	is.True(l.hot)
	is.True(l.claim(now).Since.Equal(old.Add(-trail)))

	// With a floor, and where nothing was left behind, it only moves on.
	l.took(store.Claim{Limit: 10, Since: old.Add(-trail)}, rows(10, due), now, now, true)
	is.True(l.claim(now).Since.Equal(due.Add(-trail)))
	l.took(store.Claim{Limit: 10}, rows(9, old), now, now.Add(time.Second), true)
	is.True(l.claim(now).Since.Equal(due.Add(-trail)))
}

func TestLane_ExpiredClaimsComeFirstAndMoveNoFloor(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 1, Batch: 1, Ahead: 1, Lease: time.Minute})
	now := time.Now()
	l.hot, l.expired = true, true
	c := l.claim(now)
	is.Equal(c.ExpiredAfter, time.Minute)
	is.Equal(c.Limit, 2)

	l.took(c, rows(2, now), now, now, true)
	is.True(l.expired) // there may be more
	is.True(l.hot)
	is.True(l.floor.position.IsZero())
	l.inHand = 0
	l.took(c, rows(1, now), now, now, true)
	is.True(!l.expired)
	is.True(l.hot)
}

func TestLane_RousesOnCallsAndDueTimes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLane(Queue{Concurrency: 1, Batch: 1})
	now := time.Now()
	l.rouse(now)
	is.True(!l.wants())

	l.call()
	l.rouse(now)
	is.True(l.wants())
	l.took(l.claim(now), store.Batch{HasNext: true, NextDue: time.Minute}, now, now, true)
	is.True(!l.wants())

	l.sleepUntil(now.Add(time.Hour)) // later than what is known
	l.rouse(now.Add(time.Minute - 1))
	is.True(!l.wants())
	l.rouse(now.Add(time.Minute))
	is.True(l.wants())
	is.True(l.wake.IsZero())
}

// The answer to a claim that was not alone may be older than what a write has
// told since.
func TestLane_OnlyALoneAnswerSupersedesWhatIsKnown(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	now := time.Now()
	for _, alone := range []bool{true, false} {
		l := newLane(Queue{Concurrency: 1, Batch: 1, Ahead: 1})
		l.sleepUntil(now.Add(time.Second)) // a retry
		l.took(store.Claim{Limit: 1}, store.Batch{}, now, now, alone)
		is.Equal(l.wake.IsZero(), alone)
	}
}
