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

// chaos makes calls fail, lose their answers, take long or hang, at random.
type chaos struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (c *chaos) chance(percent int) bool { return c.upTo(100) < percent }

func (c *chaos) upTo(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rnd.IntN(n)
}

func (c *chaos) before(ctx context.Context, _ call) error {
	switch {
	case c.chance(5):
		return errStore
	case c.chance(1):
		return pause(ctx, time.Hour)
	}
	return pause(ctx, time.Duration(c.upTo(20))*time.Millisecond)
}

func (c *chaos) after(call) error {
	if c.chance(5) {
		return errStore
	}
	return nil
}

// handle takes its time and decides at random. Each message is acknowledged or
// buried in the end.
func (c *chaos) handle(ctx context.Context, work []store.Claimed) []store.Outcome {
	out := make([]store.Outcome, len(work))
	switch {
	case c.chance(1):
		time.Sleep(4 * time.Second) // it does not listen
	case c.chance(5):
		_ = pause(ctx, 10*time.Second)
	default:
		_ = pause(ctx, time.Duration(c.upTo(50))*time.Millisecond)
	}
	for i := range work {
		out[i].Kind = store.Ack
		switch {
		case ctx.Err() != nil || c.chance(5):
			out[i].Kind = store.Release
		case c.chance(10):
			out[i] = store.Outcome{Kind: store.Retry, Delay: time.Duration(c.upTo(2000)) * time.Millisecond}
		case work[i].ID%10 == 0:
			out[i].Kind = store.Bury
		}
	}
	return out
}

// Workers come and go, on a store that fails in every way, and nothing is lost
// or done twice.
func TestEngine_LosesNothingInChaos(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			bubble(t, func(r *rig) {
				const messages = 1000
				c := &chaos{rnd: rand.New(rand.NewPCG(seed, 0))}
				r.fail(c.before, c.after)
				r.cfg.Poll, r.cfg.Grace = 5*time.Second, time.Second

				run := func(life time.Duration) *Engine {
					cfg := r.cfg
					cfg.Queues = []Queue{
						{Name: "q", Concurrency: 1 + c.upTo(8), Batch: 1 + c.upTo(3), Ahead: c.upTo(30) - 1, Lease: 3 * time.Second, Process: c.handle},
						{Name: "other", Concurrency: 2, Batch: 1, Ahead: -1, Lease: 5 * time.Second, Process: c.handle},
					}
					e := New(cfg)
					defer r.Listen(e.Wake)()
					ctx, cancel := context.WithTimeout(context.Background(), life)
					defer cancel()
					_ = e.Run(ctx)
					return e
				}
				var workers sync.WaitGroup
				for range 3 {
					workers.Go(func() {
						for range 6 {
							run(time.Duration(1+c.upTo(20)) * time.Second)
						}
					})
				}
				for range messages / 10 {
					r.publish(drafts(9)...)
					r.publish(store.Draft{Queue: "other"})
					pass(time.Duration(c.upTo(500)) * time.Millisecond)
				}
				workers.Wait()

				r.fail(nil, nil)
				e := run(5 * time.Minute)
				synctest.Wait()
				if broken := r.broken.Load(); broken != nil {
					r.is.NoErr(broken.(error))
				}
				r.is.Equal(len(r.Rows()), 0)
				dead := map[int64]bool{}
				for _, d := range r.DeadLetters() {
					r.is.True(!dead[d.OriginalID])
					r.is.Equal(d.OriginalID%10, int64(0))
					dead[d.OriginalID] = true
				}
				r.is.Equal(len(dead), messages/10)
				r.is.Equal(e.lanes[0].inHand+e.lanes[1].inHand, 0)
				r.is.Equal(e.ledger.open, 0)
				r.is.Equal(len(e.hands.all), 0)
			})
		})
	}
}
