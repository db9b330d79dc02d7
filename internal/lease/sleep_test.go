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
	mu     sync.Mutex
	asleep map[string]bool
}

func (b *bed) Doze(_ context.Context, queues []string) ([]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	may := make([]bool, len(queues))
	for i, q := range queues {
		b.asleep[q], may[i] = true, true
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
		r.start(q.config())
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
