package lease

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/letterbox-go/letterbox/internal/store"
)

// sorting buries the messages that say so and acknowledges the rest.
var sorting = one(func(_ context.Context, m store.Claimed) store.Outcome {
	if string(m.Payload) == "payload" {
		return store.Outcome{Kind: store.Ack}
	}
	return store.Outcome{Kind: store.Bury, Reason: "because", Error: string(m.Payload)}
})

// graves are n messages that sorting buries.
func graves(n int, payload string) []store.Draft {
	out := make([]store.Draft, n)
	for i := range out {
		out[i] = store.Draft{Queue: "q", Payload: []byte(payload)}
	}
	return out
}

func TestBurier_WritesDeadLettersTogether(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(sorting)
		q.Concurrency, q.Ahead = 4, 1000
		r.fail(slow(time.Millisecond), nil)
		r.publish(graves(2000, "bad")...)
		r.start(q)
		pass(time.Second)
		r.is.Equal(len(r.Rows()), 0)
		r.is.Equal(len(r.DeadLetters()), 2000)
		r.is.True(len(r.made(bury)) < 100)
		d := r.DeadLetters()[0]
		r.is.Equal(d.Reason, "because")
		r.is.Equal(*d.Error, "bad")
		r.end()
		r.is.Equal(r.inHand(), 0)
	})
}

func TestBurier_ABrokenTableHoldsUpNothingElse(t *testing.T) {
	bubble(t, func(r *rig) {
		r.BreakDeadLetters(errStore)
		q := queueOf(sorting)
		r.publish(graves(20, "bad")...)
		r.start(q)
		r.publish(drafts(100)...)
		r.is.Equal(len(r.Rows()), 20) // the others are done
		for range 60 {
			pass(10 * time.Second)
			r.is.Equal(r.leased(), 20) // and stay so
		}
		r.is.True(r.logs.count(slog.LevelError) > 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 0)
		for _, row := range r.Rows() {
			r.is.Equal(row.Deliveries, int64(1))
		}

		r.BreakDeadLetters(nil)
		pass(2 * maxBackoff)
		r.is.Equal(len(r.Rows()), 0)
		r.is.Equal(len(r.DeadLetters()), 20)
		r.end()
	})
}

func TestBurier_OnePoisonousGraveBlocksNoOther(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(func(_ context.Context, c call) error {
			if c.op == bury {
				for _, o := range c.outcomes {
					if o.Error == "poison" {
						return errStore
					}
				}
			}
			return nil
		}, nil)
		q := queueOf(sorting)
		q.Concurrency = 8
		r.publish(append(append(graves(300, "bad"), graves(1, "poison")...), graves(300, "bad")...)...)
		r.start(q)
		pass(time.Minute)
		r.is.Equal(len(r.DeadLetters()), 600)
		r.is.Equal(r.leased(), 1)

		r.publish(graves(100, "bad")...)
		pass(maxBackoff)
		r.is.Equal(len(r.DeadLetters()), 700)
		r.is.Equal(r.leased(), 1)
		r.fail(nil, nil)
		r.end()
		r.is.Equal(len(r.DeadLetters()), 701)
	})
}

func TestBurier_ALostAnswerBlamesNobody(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(nil, losing(bury, 1))
		r.publish(graves(5, "bad")...)
		r.start(queueOf(sorting))
		pass(time.Minute)
		r.is.Equal(len(r.DeadLetters()), 5)
		r.is.Equal(r.inHand(), 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 0)
		r.end()
	})
}

func TestBurier_SaysWhenALeaseWasLostBefore(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(func(_ context.Context, c call) error {
			if c.op == bury {
				pause(context.Background(), time.Second)
				r.steal(1)
			}
			return nil
		}, nil)
		r.publish(graves(1, "bad")...)
		r.start(queueOf(sorting))
		pass(2 * time.Second)
		r.is.Equal(len(r.DeadLetters()), 0)
		r.is.Equal(r.leased(), 1)
		r.is.Equal(r.inHand(), 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 1)
		r.end()
	})
}

func TestBurier_HandsBackWhatIsTooMuch(t *testing.T) {
	bubble(t, func(r *rig) {
		var runs atomic.Int64
		q := queueOf(one(func(ctx context.Context, m store.Claimed) store.Outcome {
			runs.Add(1)
			return store.Outcome{Kind: store.Bury}
		}))
		r.start(q)
		clear := r.crowd(5)
		r.fail(failing(bury), nil)
		r.publish(graves(15, "bad")...)
		pass(graveDelay / 2)
		r.is.Equal(r.leased(), 5)
		r.is.Equal(runs.Load(), int64(15))
		pass(graveDelay)
		r.is.Equal(runs.Load(), int64(25))
		clear()
		r.fail(nil, nil)
		pass(2 * graveDelay)
		r.is.Equal(len(r.DeadLetters()), 15)
		r.end()
		r.is.Equal(r.inHand(), 0)
		r.is.Equal(r.engine.ledger.open, 0)
	})
}

func TestBurier_WhatWaitsKeepsNoPayload(t *testing.T) {
	bubble(t, func(r *rig) {
		r.BreakDeadLetters(errStore)
		var payloads []weak.Pointer[byte]
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			payloads = append(payloads, weak.Make(&m.Payload[0]))
			if m.ID%10 == 0 { // one for each claim
				return store.Outcome{Kind: store.Bury}
			}
			return store.Outcome{Kind: store.Ack}
		}))
		q.Ahead = 9
		r.publish(graves(100, strings.Repeat("large", 1000))...)
		r.start(q)
		r.is.Equal(len(payloads), 100)
		r.is.Equal(r.inHand(), 10)
		runtime.GC()
		for _, p := range payloads {
			r.is.True(p.Value() == nil)
		}
		r.BreakDeadLetters(nil)
		r.end()
	})
}
