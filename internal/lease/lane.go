package lease

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

const (
	// maxClaim is the most messages that one claim takes: claims of 500 to 1,000
	// reach the database's ceiling.
	maxClaim = 1000
	// maxAhead is the most messages that a queue holds beyond those being worked
	// on: those of one claim, while another is under way.
	maxAhead = 2 * maxClaim
	// aheadFor is how much work is claimed ahead, by measured run time: long
	// enough to hide a round trip, short enough that little waits here that
	// another worker could do.
	aheadFor = 100 * time.Millisecond
	// maxBytesAhead bounds the memory of a queue with large payloads.
	maxBytesAhead = 32 << 20
)

// lane is what the pump knows of one queue. Only the pump's goroutine touches
// it, but for the fields marked atomic and the vitals.
type lane struct {
	Queue
	attention
	work chan *hand // buffered for all that may be ahead; the pump writes

	// filling is held while the messages of a claim are handed over, so that a
	// batch waits for all of them and not for the first alone.
	filling sync.Mutex

	vitals vitals
	called atomic.Bool  // somebody said that there is something to claim
	runFor atomic.Int64 // moving mean of one message's run time, nanoseconds

	hot     bool      // there may be more to claim right now
	deep    bool      // the last claim brought all it asked for
	expired bool      // there are expired leases to take over
	wake    time.Time // when something becomes due; zero: not known
	inHand  int       // claimed and not yet written back
	freeing int       // of those, about to be written
	asked   int       // limits of the claims that are under way

	floor    floor
	over     passedOver
	rowBytes float64 // moving mean of a payload's size
}

func newLane(q Queue) *lane {
	ahead := q.Ahead
	if ahead < 0 {
		ahead = maxAhead
	}
	return &lane{Queue: q, attention: newAttention(), work: make(chan *hand, q.Concurrency*q.Batch+ahead)}
}

// call says that there may be something to claim. Safe from any goroutine.
func (l *lane) call() { l.called.Store(true) }

// sleepUntil makes the lane wake at t at the latest.
func (l *lane) sleepUntil(t time.Time) {
	if l.wake.IsZero() || t.Before(l.wake) {
		l.wake = t
	}
}

// rouse turns what has happened since into heat. While a claim is under way it
// does nothing: an answer that was true before would cool the lane again.
func (l *lane) rouse(now time.Time) {
	if l.asked > 0 {
		return
	}
	if l.called.Swap(false) {
		l.hot = true
	}
	if !l.wake.IsZero() && !now.Before(l.wake) {
		l.hot, l.wake = true, time.Time{}
	}
}

// target is how many messages the queue may hold: those being worked on, and
// those that will be within aheadFor.
func (l *lane) target() int {
	running := l.Concurrency * l.Batch
	ahead := l.Ahead
	if ahead < 0 {
		ahead = 0 // until the first run has been timed
		if each := l.runFor.Load(); each > 0 {
			ahead = int(min(maxAhead, int64(aheadFor)*int64(l.Concurrency)/each))
		}
	}
	most := running + ahead
	if l.rowBytes > 0 { // but no slot goes without
		most = min(most, max(l.Concurrency, int(maxBytesAhead/l.rowBytes)))
	}
	return most
}

// ran feeds the mean run time. Concurrent updates may overwrite each other,
// which a mean can bear.
func (l *lane) ran(d time.Duration, messages int) {
	each := max(1, int64(d)/int64(messages))
	if old := l.runFor.Load(); old > 0 {
		each = old + (each-old)/8
	}
	l.runFor.Store(max(1, each))
}

// room says how many messages to ask for. A queue waits until half of what it
// may hold is free, so that claims stay large under load, unless its slots are
// about to run dry.
func (l *lane) room() int {
	most := l.target()
	room := most - (l.inHand + l.asked - l.freeing)
	if room < min(enough, (most+1)/2) && len(l.work) > 0 {
		return 0
	}
	return min(max(0, room), maxClaim)
}

// wants reports whether there is something to claim and room for it.
func (l *lane) wants() bool { return (l.hot || l.expired) && l.room() > 0 }

// claim says what to ask for. Expired leases come first: they are old, and few.
func (l *lane) claim(now time.Time) store.Claim {
	c := store.Claim{Queue: l.Name, Limit: l.room(), Token: uuid.New()}
	if l.expired {
		c.ExpiredAfter = l.Lease
	} else {
		c.Since = l.floor.since(now)
	}
	return c
}

// took takes in the answer to a claim that was sent at sent and answered at now.
// Unless it was alone, what it says of the future may be older than what is known.
func (l *lane) took(c store.Claim, b store.Batch, sent, now time.Time, alone bool) {
	l.inHand += len(b.Messages)
	for i := range b.Messages {
		size := float64(len(b.Messages[i].Payload) + len(b.Messages[i].Headers))
		if l.rowBytes > 0 {
			size = l.rowBytes + (size-l.rowBytes)/16
		}
		l.rowBytes = size
	}
	short := len(b.Messages) < c.Limit
	if c.ExpiredAfter > 0 {
		l.expired = !short
		return
	}
	l.vitals.seen(now, Lateness(b.Messages))
	l.attention.took(len(b.Messages), now)
	swept := c.Since.IsZero()
	if n := len(b.Messages); n > 0 {
		l.floor.moved(swept, !short, b.Messages[n-1].DueAt)
	}
	if swept {
		l.floor.sweptAt(sent, now, now.Sub(sent))
	}
	l.over.took(c, len(b.Messages), b.PassedOver)
	l.hot, l.deep = !short, !short
	if !short {
		return
	}
	if alone {
		l.wake = time.Time{} // what was known is superseded
	}
	if b.HasNext {
		l.sleepUntil(sent.Add(b.NextDue)) // the next claim takes as long to get there
	}
	if b.PassedOver {
		l.sleepUntil(now.Add(l.over.next()))
	}
	if !swept { // nothing above the floor; what is below it is still unseen
		l.sleepUntil(l.floor.nextSweep())
	}
}
