package lease

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// bed is a Sleeper whose publishers notify those that sleep, and nobody else.
type bed struct {
	mu       sync.Mutex
	asleep   map[string]bool
	inFlight bool // somebody has published without a notification, and not committed
	asked    int  // calls of Doze
}

func (b *bed) Doze(_ context.Context, queues []string) ([]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	may := make([]bool, len(queues))
	for i, q := range queues {
		b.asleep[q], may[i] = true, !b.inFlight
	}
	return may, nil
}

func (b *bed) Rouse(_ context.Context, queues []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range queues {
		delete(b.asleep, q)
	}
	return nil
}

func (b *bed) sleeps(queue string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asleep[queue]
}

// open says that a transaction has published without a notification, or that it
// has ended.
func (b *bed) open(yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight = yes
}

// times is how often the queues have asked for sleep.
func (b *bed) times() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// sleeper is a queue of either kind, with publishers that notify it while it sleeps.
type sleeper struct {
	*bed
	r       *rig
	queue   string
	claims  func() int
	handled func() int
	commit  func() // a message, in silence
}

func (s *sleeper) asleepNow() bool { return s.sleeps(s.queue) }

func (s *sleeper) publish() {
	s.commit()
	if s.asleepNow() {
		s.r.engine.Wake(s.queue)
	}
}

// eachSleeper tests queues of both kinds.
func eachSleeper(t *testing.T, test func(r *rig, s *sleeper)) {
	t.Run("leased", func(t *testing.T) {
		bubble(t, func(r *rig) {
			var got tally
			s := &sleeper{bed: &bed{asleep: map[string]bool{}}, r: r}
			s.claims = func() int { return len(r.made(exchange)) }
			s.handled = func() int { n, _ := got.messages(); return n }
			s.commit = func() { r.publish(drafts(1)...) }
			s.queue = "q"
			r.cfg.Poll, r.cfg.Sleeper = time.Hour, s.bed
			r.startDeaf(queueOf(got.ack()))
			r.engine.SetListening(true)
			test(r, s)
			r.end()
		})
	})
	t.Run("held", func(t *testing.T) {
		bubble(t, func(r *rig) {
			q := &heldQueue{}
			s := &sleeper{bed: &bed{asleep: map[string]bool{}}, r: r, claims: q.made}
			s.handled = func() int { return len(q.done()) }
			s.commit = func() { q.now(1) }
			s.queue = "held"
			r.cfg.Poll, r.cfg.Sleeper = time.Hour, s.bed
			r.startHeld(q, q.config())
			test(r, s)
			r.end()
		})
	})
}

// Publishers notify a queue that is declared asleep, and it is so while it waits for
// one that is in flight.
func TestSleep_IsRousedByMessagesThatKeepComing(t *testing.T) {
	for _, inFlight := range []bool{false, true} {
		t.Run(fmt.Sprint("publisher in flight: ", inFlight), func(t *testing.T) {
			eachSleeper(t, func(r *rig, s *sleeper) {
				s.open(inFlight)
				for range 3 {
					for range 100 {
						s.publish()
						pass(time.Millisecond)
					}
					r.is.True(!s.asleepNow())
					pass(time.Second)
					r.is.True(s.asleepNow())
				}
			})
		})
	}
}

// A transaction that has published may stay open for hours.
func TestSleep_AsksMoreSeldomWhileATransactionStaysOpen(t *testing.T) {
	eachSleeper(t, func(r *rig, s *sleeper) {
		s.open(true)
		s.publish() // it was asleep; now it may not fall asleep again
		for range 100 {
			s.publish()
			pass(time.Millisecond)
		}
		pass(5 * time.Second)
		asked, claims, handled := s.times(), s.claims(), s.handled()
		pass(10 * time.Second)
		r.is.True(s.times()-asked <= 41)
		r.is.True(s.claims()-claims <= 41)

		s.commit() // of another that was in flight
		waited := time.Duration(0)
		for s.handled() == handled {
			pass(time.Millisecond)
			waited += time.Millisecond
		}
		r.is.True(waited <= longestWait)
		s.commit() // a message came: it is patient again
		pass(attentivePause)
		r.is.Equal(s.handled(), handled+2)

		pass(5 * time.Second)
		s.open(false)
		pass(longestWait)
		claims = s.claims()
		pass(10 * time.Second)
		r.is.Equal(s.claims(), claims) // asleep
	})
}

// Whatever the traffic does, and however slow the store is, a worker that is
// declared awake finds what comes by itself.
func TestSleep_NothingIsMissedWhileAwake(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("leased, seed ", seed), func(t *testing.T) { nothingIsMissed(t, seed) })
		t.Run(fmt.Sprint("held, seed ", seed), func(t *testing.T) { nothingHeldIsMissed(t, seed) })
	}
}

// nothingHeldIsMissed has handlers that go on and on, but one goroutine is free.
func nothingHeldIsMissed(t *testing.T, seed uint64) {
	bubble(t, func(r *rig) {
		c := &chaos{rnd: rand.New(rand.NewPCG(seed, 0))}
		b := &bed{asleep: map[string]bool{}}
		r.cfg.Poll, r.cfg.Sleeper = time.Hour, b
		stuck := 0 // handlers that are to go on
		q := &heldQueue{}
		q.random = func() (looks, takes time.Duration) { // under the lock
			looks, takes = time.Duration(c.upTo(6))*time.Millisecond, time.Duration(c.upTo(6))*time.Millisecond
			if stuck > 0 && c.upTo(4) == 0 {
				stuck, takes = stuck-1, time.Second
			}
			return looks, takes
		}
		r.startHeld(q, q.config())
		published := 0
		publish := func(n int) {
			q.now(n)
			published += n
			if b.sleeps("held") {
				r.engine.Wake("held")
			}
		}
		for range 20 {
			q.mu.Lock()
			stuck = c.upTo(4)
			q.mu.Unlock()
			for range 1 + c.upTo(30) {
				publish(1 + c.upTo(20)*c.upTo(2))
				pass(time.Duration(c.upTo(8)) * time.Millisecond)
			}
			pass(500 * time.Millisecond) // a poll is an hour away
			r.is.Equal(q.left(), 0)
			pass(time.Second)
			r.is.Equal(len(q.done()), published)
			pass(time.Duration(c.upTo(2)) * 200 * time.Millisecond)
		}
		r.end()
	})
}

func nothingIsMissed(t *testing.T, seed uint64) {
	bubble(t, func(r *rig) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		c := &chaos{rnd: rnd}
		b := &bed{asleep: map[string]bool{}}
		r.cfg.Poll, r.cfg.Sleeper = time.Hour, b
		var got tally
		q := queueOf(one(func(ctx context.Context, m store.Claimed) store.Outcome {
			_ = pause(ctx, time.Duration(c.upTo(3))*time.Millisecond)
			got.add(m.ID)
			if m.ID%7 == 0 {
				return store.Outcome{Kind: store.Bury, Reason: "rejected"}
			}
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency, q.Ahead = 8, -1
		r.startDeaf(q)
		r.Listen(func(queue string) {
			if b.sleeps(queue) {
				r.engine.Wake(queue)
			}
		})
		r.engine.SetListening(true)
		synctest.Wait()
		r.fail(func(ctx context.Context, _ call) error {
			return pause(ctx, time.Duration(c.upTo(6))*time.Millisecond)
		}, nil)

		published := 0
		for range 20 {
			for range 1 + c.upTo(30) {
				n := 1 + c.upTo(20)*c.upTo(2)
				r.publish(drafts(n)...)
				published += n
				pass(time.Duration(c.upTo(8)) * time.Millisecond)
			}
			pass(time.Second) // a poll is an hour away
			n, _ := got.messages()
			r.is.Equal(n, published)
			pass(time.Duration(c.upTo(2)) * 200 * time.Millisecond)
		}
		r.end()
	})
}
