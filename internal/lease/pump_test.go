package lease

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// losing makes the first n calls of a kind succeed and lose their answers.
func losing(o op, n int64) func(call) error {
	var lost atomic.Int64
	return func(c call) error {
		if c.op == o && lost.Add(1) <= n {
			return errStore
		}
		return nil
	}
}

func TestPump_ALostAnswerLosesNoMessageAndBlamesNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		q := queueOf(got.ack())
		q.Concurrency, q.Ahead = 2, 10
		r.fail(nil, losing(exchange, 1)) // the claim
		r.publish(drafts(3)...)
		r.start(q)
		r.is.Equal(len(r.Rows()), 3) // leased by nobody who knows
		pass(time.Second)
		r.is.Equal(len(r.made(giveBack)), 1)
		n, most := got.messages()
		r.is.Equal(n, 3)
		r.is.Equal(most, 1)
		r.is.Equal(len(r.Rows()), 0)

		r.fail(nil, func(c call) error { // acks, and the claims that go with them
			if c.op == exchange && len(c.outcomes) > 0 {
				r.fail(nil, nil)
				return errStore
			}
			return nil
		})
		r.publish(drafts(100)...)
		pass(time.Minute)
		n, most = got.messages()
		r.is.Equal(n, 103)
		r.is.Equal(most, 1)
		r.is.Equal(len(r.Rows()), 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 0) // no lease was lost
		r.end()
		r.is.Equal(r.engine.lanes[0].inHand, 0)
		r.is.Equal(r.engine.ledger.open, 0)
	})
}

func TestPump_ALostAnswerToAClaimOfExpiredLeasesIsMadeGood(t *testing.T) {
	bubble(t, func(r *rig) {
		r.publish(drafts(3)...)
		r.claimFor(uuid.New(), 3)
		pass(2 * time.Minute)
		var got tally
		q := queueOf(got.ack())
		q.Ahead = 10
		r.fail(nil, losing(exchange, 1))
		r.start(q)
		pass(time.Second)
		n, most := got.messages()
		r.is.Equal(n, 3)
		r.is.Equal(most, 1)
		r.end()
	})
}

func TestPump_ARetryWhoseAnswerWasLostStillComesInTime(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		var got tally
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			got.add(m.ID)
			if m.Attempts == 0 {
				return store.Outcome{Kind: store.Retry, Delay: time.Minute}
			}
			return store.Outcome{Kind: store.Ack}
		}))
		q.Ahead = 1 // so that the claim finds the end of the queue, and no other goes with the outcome
		r.start(q)
		r.fail(nil, func(c call) error {
			if c.op == exchange && len(c.outcomes) > 0 {
				r.fail(nil, nil)
				return errStore
			}
			return nil
		})
		r.publish(drafts(1)...)
		pass(2 * time.Minute)
		_, times := got.messages()
		r.is.Equal(times, 2)
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

func TestPump_GoesOnWhenTheStoreIsBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(context.Context, call) error
	}{
		{name: "refusing", down: failing(exchange, look, extend, giveBack, bury)},
		{name: "hanging", down: hanging(exchange, look, extend, giveBack, bury)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				var got tally
				q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
					got.add(m.ID)
					time.Sleep(time.Second)
					return store.Outcome{Kind: store.Ack}
				}))
				q.Concurrency, q.Ahead, q.Lease = 2, 4, 10*time.Minute
				r.publish(drafts(50)...)
				r.start(q)
				pass(3500 * time.Millisecond)
				r.fail(tt.down, nil)
				pass(time.Minute)
				r.is.Equal(r.logs.count(slog.LevelError), 1)
				r.is.Equal(r.logs.count(slog.LevelInfo), 0)
				r.is.True(len(r.made(exchange, look)) < 60) // it backs off

				r.fail(nil, nil)
				pass(time.Minute)
				n, most := got.messages()
				r.is.Equal(n, 50)
				r.is.Equal(most, 1)
				r.is.Equal(len(r.Rows()), 0)
				r.is.Equal(r.logs.count(slog.LevelError), 1)
				r.is.Equal(r.logs.count(slog.LevelWarn), 0)
				r.is.Equal(r.logs.count(slog.LevelInfo), 1)
				r.end()
			})
		})
	}
}

func TestPump_WritesOutcomesThoughItCannotLook(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			time.Sleep(time.Minute)
			return store.Outcome{Kind: store.Ack}
		}))
		r.publish(drafts(2)...)
		r.start(q)
		r.fail(failing(look), nil)
		pass(10 * time.Minute)
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

func TestPump_WhatIsNotInHandFreesNoRoom(t *testing.T) {
	bubble(t, func(r *rig) {
		// More dead letters than can wait go back to the queue. They left the
		// lane when they were decided, so that nothing is free when this is written.
		q := queueOf(one(func(ctx context.Context, m store.Claimed) store.Outcome {
			if string(m.Payload) == "bad" {
				return store.Outcome{Kind: store.Bury}
			}
			pause(ctx, time.Second)
			return store.Outcome{Kind: store.Release}
		}))
		q.Ahead = 149
		r.start(q)
		clear := r.crowd(0)
		r.publish(graves(50, "bad")...)
		r.is.Equal(r.leased(), 0)
		later := drafts(1_000)
		for i := range later {
			later[i].Delay = graveDelay // with the fifty, when they come again
		}
		r.publish(later...)
		pass(graveDelay)
		for range 100 {
			pass(10 * time.Millisecond)
			r.is.True(r.inHand() <= 150)
		}
		clear()
		r.end()
	})
}

func TestPump_AsksItsQueuesInTurn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var cfg Config
	for _, name := range []string{"a", "b", "c"} {
		cfg.Queues = append(cfg.Queues, Queue{Name: name, Concurrency: 1, Batch: maxClaim})
	}
	p := New(cfg).pump
	var asked []string
	for range 3 {
		for _, l := range p.lanes {
			l.hot, l.asked = true, 0
		}
		for _, c := range p.claims(time.Now()) {
			asked = append(asked, c.Queue)
		}
	}
	is.Equal(asked, []string{"a", "b", "b", "c", "c", "a"}) // two fill a round trip
}
