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
	a.asleep = true

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
	a.asleep = false

	feed(100, 1, 20*time.Millisecond)
	is.True(a.attentive) // between the thresholds it stays as it was
	now = now.Add(attentivePause)
	a.took(0, now)
	is.True(a.attentive) // one empty claim is no silence
	now = now.Add(longestGap)
	a.took(0, now)
	is.True(!a.attentive && a.dozes())
}
