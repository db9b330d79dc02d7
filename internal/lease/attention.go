package lease

import (
	"context"
	"math"
	"time"
)

// Sleeper lets publishers know who sleeps, so that they notify only then: a
// notification takes a lock over the whole database at commit.
type Sleeper interface {
	// Doze declares the worker asleep on the queues. It returns, for each in
	// its order, whether it may sleep once one more claim, begun after this
	// call, finds nothing; where not, a publisher that did not notify has yet
	// to commit, and the caller claims again soon and then calls Doze again.
	Doze(ctx context.Context, queues []string) ([]bool, error)
	// Rouse declares the worker awake on the queues: publishers need not
	// notify.
	Rouse(ctx context.Context, queues []string) error
}

// Rule for staying awake while messages keep coming, as measured: one threshold
// alone flaps, and a longer pause starts late commits late.
const (
	// attentivePause is how often an attentive queue is claimed from.
	attentivePause = 4 * time.Millisecond
	// attentiveBelow and inattentiveFrom are means of the gap between messages.
	attentiveBelow  = 10 * time.Millisecond
	inattentiveFrom = 30 * time.Millisecond
	// longestGap caps each gap, and silence of that length ends attention.
	longestGap = 100 * time.Millisecond
	// patience is how often in a row a queue that may not fall asleep asks again
	// after attentivePause. Then it asks, and is claimed from, ever more seldom: a
	// transaction that is open for so long may be for hours. Only what others had
	// published by then, without a notification, is found that much later.
	patience    = 25
	longestWait = 250 * time.Millisecond
	// dozeTimeout bounds a word to the publishers: the listening connection may
	// have died in silence, and delivery must not wait for it.
	dozeTimeout = time.Second
)

// attention decides whether a queue is awake, and claimed from every few
// milliseconds, or asleep, and waiting for a notification.
type attention struct {
	mean      time.Duration // moving mean of the gap between messages
	seen      time.Time     // when the last message came
	attentive bool          // messages keep coming
	declared  bool          // publishers have been told that it sleeps, so they notify
	asleep    bool          // and it may: none that did not notify is in flight
	refusals  int           // how often in a row it might not fall asleep
	askAt     time.Time     // when it asks again
}

func newAttention() attention { return attention{mean: longestGap} }

// took takes in a claim that brought n messages.
func (a *attention) took(n int, now time.Time) {
	if n == 0 {
		if a.attentive && (a.mean >= inattentiveFrom || now.Sub(a.seen) >= longestGap) {
			a.attentive = false
		}
		return
	}
	gap := min(longestGap, now.Sub(a.seen)/time.Duration(n))
	a.mean += time.Duration(float64(gap-a.mean) * (1 - math.Pow(7.0/8, float64(n))))
	a.seen = now
	a.refusals, a.askAt = 0, time.Time{}
	if a.mean < attentiveBelow {
		a.attentive = true
	}
}

// rouses reports whether the queue should be declared awake now.
func (a *attention) rouses() bool { return a.attentive && a.declared }

// dozes reports whether the queue should be declared asleep, having found nothing
// more to claim.
func (a *attention) dozes() bool { return !a.attentive && !a.asleep }

// awake takes in that publishers have been told so.
func (a *attention) awake() { a.declared, a.asleep = false, false }

// answered takes in whether the queue may sleep, as it was told at now.
func (a *attention) answered(may bool, now time.Time) {
	a.declared, a.asleep = true, may
	if may {
		a.refusals, a.askAt = 0, time.Time{}
		return
	}
	a.refusals++
	a.askAt = now.Add(min(longestWait, attentivePause<<min(6, max(0, a.refusals-patience))))
}
