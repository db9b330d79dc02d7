package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// health is that of the one queue.
func (r *rig) health() QueueHealth {
	h := r.engine.Health()
	r.is.Equal(len(h.Queues), 1)
	return h.Queues[0]
}

func TestHealth_KnowsTheLagOfABusyQueue(t *testing.T) {
	bubble(t, func(r *rig) {
		free := make(chan struct{})
		r.start(queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			<-free
			return store.Outcome{Kind: store.Ack}
		})))
		r.is.Equal(r.health(), QueueHealth{Name: "q", Seen: time.Now()}) // it has claimed, and found nothing
		r.is.True(r.engine.Health().Listening)

		r.publish(drafts(2)...) // one is being handled, the other waits
		pass(time.Minute)
		h := r.health()
		r.is.True(time.Since(h.Seen) <= r.cfg.Poll) // it looks even while it has no room
		r.is.Equal(h.Lag, h.Seen.Sub(time.Now().Add(-time.Minute)))

		free <- struct{}{}
		pass(0)
		r.is.Equal(r.health(), QueueHealth{Name: "q", Seen: time.Now(), Lag: time.Minute}) // the second was claimed
		free <- struct{}{}
		pass(r.cfg.Poll)
		r.is.Equal(r.health().Lag, time.Duration(0))
		r.end()
	})
}

func TestHealth_CountsFailuresUntilAnAnswer(t *testing.T) {
	bubble(t, func(r *rig) {
		explained := errors.New("explained")
		r.cfg.Explain = func(err error) error { return errors.Join(explained, err) }
		r.fail(failing(exchange, look), nil)
		r.start(queueOf(ack))
		pass(time.Minute)
		h := r.health()
		r.is.True(h.Seen.IsZero())
		r.is.True(h.Failures > 5)
		r.is.True(errors.Is(h.Err, errStore))
		r.is.True(errors.Is(h.Err, explained))

		r.fail(nil, nil)
		pass(maxBackoff)
		h = r.health()
		r.is.True(!h.Seen.IsZero())
		r.is.Equal(h.Failures, 0)
		r.is.Equal(h.Err, nil)
		r.end()
	})
}

func TestHealth_OfAHeldQueue(t *testing.T) {
	bubble(t, func(r *rig) {
		q := &heldQueue{err: errStore}
		r.fail(failing(look), nil)
		r.startHeld(q, q.config())
		pass(time.Second)
		h := r.health()
		r.is.True(h.Seen.IsZero() && h.Failures > 0 && errors.Is(h.Err, errStore))

		q.mu.Lock()
		q.err = nil
		q.mu.Unlock()
		r.fail(nil, nil)
		pass(time.Minute)
		h = r.health()
		r.is.True(time.Since(h.Seen) <= r.cfg.Poll && h.Failures == 0 && h.Err == nil)
		r.end()
	})
}

func TestHealth_SaysThatItDrains(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(queueOf(one(func(ctx context.Context, _ store.Claimed) store.Outcome {
			<-ctx.Done() // until the grace period is over
			return store.Outcome{Kind: store.Release}
		})))
		r.publish(drafts(1)...)
		r.is.True(!r.engine.Health().Draining)
		r.cancel()
		pass(time.Second)
		r.is.True(r.engine.Health().Draining)
		r.end()
	})
}
