package lease

import (
	"context"
	"fmt"
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

// Where the store says that it did nothing, there is nothing to hand back.
func TestPump_ARefusedClaimLeavesNothingBehind(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		r.fail(func(_ context.Context, c call) error {
			if c.op == exchange {
				return fmt.Errorf("no such table: %w", store.ErrRefused)
			}
			return nil
		}, nil)
		r.publish(drafts(3)...)
		r.start(queueOf(got.ack()))
		pass(time.Minute)
		r.is.True(len(r.made(exchange)) > 1)
		r.is.Equal(len(r.made(giveBack)), 0)

		r.fail(nil, nil)
		pass(time.Minute)
		n, _ := got.messages()
		r.is.Equal(n, 3)
		r.end()
	})
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

// gauge counts the exchanges that are under way.
type gauge struct{ now, most atomic.Int64 }

// on makes each exchange take d.
func (g *gauge) on(r *rig, d time.Duration, which func(call) bool) {
	r.fail(func(ctx context.Context, c call) error {
		if c.op != exchange || !which(c) {
			return nil
		}
		g.most.Store(max(g.most.Load(), g.now.Add(1)))
		return pause(ctx, d)
	}, func(c call) error {
		if c.op == exchange && which(c) {
			g.now.Add(-1)
		}
		return nil
	})
}

func claiming(c call) bool { return len(c.claims) > 0 }

func TestPump_TwoTripsAtOnceWhereThereIsMuchToDo(t *testing.T) {
	for _, tt := range []struct {
		name     string
		messages int
		most     int64
	}{
		{"a backlog", 10 * maxClaim, maxTrips},
		{"a message now and then", 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				var (
					got   tally
					trips gauge
				)
				q := queueOf(got.ack())
				q.Concurrency, q.Ahead = 8, -1
				r.start(q)
				trips.on(r, 2*time.Millisecond, claiming)
				for range 3 {
					r.publish(drafts(tt.messages)...)
					pass(10 * time.Second)
				}
				n, most := got.messages()
				r.is.Equal(n, 3*tt.messages)
				r.is.Equal(most, 1)
				r.is.Equal(trips.most.Load(), tt.most)
				r.is.Equal(trips.now.Load(), int64(0))
				r.end()
			})
		})
	}
}

// The answer of a claim tells how things were before a notification that came
// meanwhile.
func TestPump_ACallDuringAClaimIsHeardAfterIt(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		r.start(queueOf(got.ack()))
		r.fail(nil, func(c call) error {
			if c.op == exchange { // it has found what it has found
				r.fail(nil, nil)
				r.publish(drafts(1)...)
				time.Sleep(time.Millisecond) // the call gets through
			}
			return nil
		})
		r.engine.Wake("q")
		pass(time.Second) // a poll is 20 s away
		n, _ := got.messages()
		r.is.Equal(n, 1)
		r.end()
	})
}

// What has come in waits for no outcome that is being written.
func TestPump_AClaimStartsWhileOutcomesAreWritten(t *testing.T) {
	bubble(t, func(r *rig) {
		var (
			got     tally
			started []time.Time
		)
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			started = append(started, time.Now())
			got.add(m.ID)
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency = 2 // a claim for two brings one: there is no more
		r.start(q)
		r.fail(func(ctx context.Context, c call) error { // a slow disk
			if c.op == exchange && len(c.outcomes) > 0 {
				return pause(ctx, time.Second)
			}
			return nil
		}, nil)
		r.publish(drafts(1)...)
		pass(100 * time.Millisecond)
		r.publish(drafts(1)...)
		published := time.Now()
		pass(10 * time.Second)
		r.is.Equal(len(started), 2)
		r.is.True(started[1].Sub(published) < 100*time.Millisecond)
		r.end()
	})
}
