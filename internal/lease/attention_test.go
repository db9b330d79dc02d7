package lease

import (
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestAttention_StaysAwakeWhileMessagesKeepComing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	now := time.Now()
	a := newAttention()
	is.True(a.dozes()) // at the start nothing is known to come
	a.answered(true, now)

	feed := func(messages, each int, gap time.Duration) {
		for range messages {
			now = now.Add(gap)
			a.took(each, now)
		}
	}
	feed(20, 1, 200*time.Millisecond)
	is.True(!a.attentive) // five a second are notified
	feed(100, 1, time.Millisecond)
	is.True(a.attentive && a.rouses())
	a.awake()
	is.True(!a.rouses())

	feed(100, 1, 20*time.Millisecond)
	is.True(a.attentive) // between the thresholds it stays as it was
	now = now.Add(attentivePause)
	a.took(0, now)
	is.True(a.attentive) // one empty claim is no silence
	now = now.Add(longestGap)
	a.took(0, now)
	is.True(!a.attentive && a.dozes())
}

// Where it may not sleep, for a publisher is in flight, it was declared asleep all
// the same, and has to be declared awake.
func TestAttention_RousesThoughItMightNotSleep(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	now := time.Now()
	a := newAttention()
	a.answered(false, now)
	is.True(!a.asleep && !a.rouses())
	for range 100 {
		now = now.Add(time.Millisecond)
		a.took(1, now)
	}
	is.True(a.rouses())
}
