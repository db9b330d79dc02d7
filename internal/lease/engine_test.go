package lease

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

func TestEngine_DeliversAllEachOnce(t *testing.T) {
	for _, q := range []Queue{
		{Concurrency: 1, Batch: 1, Ahead: 0},
		{Concurrency: 8, Batch: 1, Ahead: -1},
		{Concurrency: 3, Batch: 7, Ahead: 50},
	} {
		t.Run(fmt.Sprintf("concurrency=%d,batch=%d,ahead=%d", q.Concurrency, q.Batch, q.Ahead), func(t *testing.T) {
			bubble(t, func(r *rig) {
				var got tally
				q.Name, q.Lease = "q", time.Minute
				q.Process = got.ack()
				r.publish(drafts(500)...) // before the start: the first look finds them
				r.start(q)
				for range 50 {
					r.publish(drafts(10)...)
				}
				n, most := got.messages()
				r.is.Equal(n, 1000)
				r.is.Equal(most, 1)
				r.end()
				r.is.Equal(len(r.Rows()), 0)
				r.is.Equal(len(r.logs.lines), 0)
				r.is.Equal(r.engine.lanes[0].inHand, 0)
				r.is.Equal(r.engine.ledger.open, 0)
				r.is.Equal(len(r.engine.hands.all), 0)
			})
		})
	}
}

func TestEngine_ServesItsQueuesApart(t *testing.T) {
	bubble(t, func(r *rig) {
		var slow, quick atomic.Int64
		a := queueOf(one(func(ctx context.Context, _ store.Claimed) store.Outcome {
			if pause(ctx, time.Hour) != nil {
				return store.Outcome{Kind: store.Release}
			}
			slow.Add(1)
			return store.Outcome{Kind: store.Ack}
		}))
		a.Name, a.Ahead = "slow", 100
		b := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			quick.Add(1)
			return store.Outcome{Kind: store.Ack}
		}))
		b.Name = "quick"
		for range 100 {
			r.publish(store.Draft{Queue: "slow"}, store.Draft{Queue: "quick"}, store.Draft{Queue: "of others"})
		}
		r.start(a, b)
		pass(time.Minute)
		r.is.Equal(quick.Load(), int64(100))
		r.is.Equal(slow.Load(), int64(0))
		r.end()
	})
}

func TestEngine_SleepsUntilADueTimeAndCallsNothingMeanwhile(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = 24 * time.Hour
		began := time.Now()
		var ran []time.Duration
		q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			ran = append(ran, time.Since(began))
			return store.Outcome{Kind: store.Ack}
		}))
		for _, at := range []time.Duration{time.Hour, 2 * time.Hour} {
			r.publish(store.Draft{Queue: "q", Delay: at})
		}
		r.start(q)
		pass(30 * time.Minute)
		r.publish(store.Draft{Queue: "q", Delay: time.Minute}) // earlier than what it sleeps for
		pass(time.Minute)
		r.is.Equal(ran, []time.Duration{31 * time.Minute})

		r.forget()
		pass(time.Hour + 29*time.Minute - time.Second)
		r.is.Equal(ran, []time.Duration{31 * time.Minute, time.Hour})
		r.is.Equal(len(r.made()), 2) // a claim; its ack with the next claim
		r.forget()
		pass(time.Second)
		r.is.Equal(ran[2:], []time.Duration{2 * time.Hour})
		r.end()
	})
}

func TestEngine_IsQuietWhenIdle(t *testing.T) {
	bubble(t, func(r *rig) {
		r.start(queueOf(ack), Queue{Name: "other", Concurrency: 4, Batch: 4, Ahead: -1, Lease: time.Second, Process: ack})
		r.publish(drafts(3)...)
		pass(time.Second)
		r.forget()
		pass(10 * time.Minute)
		r.is.Equal(len(r.made(look)), 30) // one for each poll
		r.is.Equal(len(r.made()), 30)     // and nothing else
		r.end()
	})
}

func TestEngine_PollFindsWhatNoWakeTold(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		r.startDeaf(queueOf(got.ack()))
		pass(500 * time.Millisecond)
		r.publish(drafts(5)...)
		n, _ := got.messages()
		r.is.Equal(n, 0)
		pass(r.cfg.BlindPoll)
		n, _ = got.messages()
		r.is.Equal(n, 5)

		r.engine.SetListening(true) // from here on it may rely on being told
		r.publish(drafts(5)...)
		pass(r.cfg.BlindPoll)
		n, _ = got.messages()
		r.is.Equal(n, 5)
		r.engine.WakeAll()
		synctest.Wait()
		n, _ = got.messages()
		r.is.Equal(n, 10)
		r.end()
	})
}

func TestEngine_TakesOverExpiredLeasesOfADeadWorker(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			got.add(m.ID)
			r.is.Equal(m.Deliveries, int64(2))
			return store.Outcome{Kind: store.Ack}
		}))
		r.publish(drafts(7)...)
		r.claimFor(uuid.New(), 7)
		r.start(q)
		pass(q.Lease)
		n, _ := got.messages()
		r.is.Equal(n, 0)
		pass(r.cfg.Poll + time.Second)
		n, _ = got.messages()
		r.is.Equal(n, 7)
		r.end()
	})
}

func TestEngine_RunsAtMostConcurrencyAndClaimsAtMostAhead(t *testing.T) {
	for _, ahead := range []int{0, 1, 10} {
		t.Run(fmt.Sprintf("ahead=%d", ahead), func(t *testing.T) {
			bubble(t, func(r *rig) {
				var running, most, leased atomic.Int64
				q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
					most.Store(max(most.Load(), running.Add(1)))
					leased.Store(max(leased.Load(), int64(r.leased())))
					time.Sleep(time.Second)
					running.Add(-1)
					return store.Outcome{Kind: store.Ack}
				}))
				q.Concurrency, q.Ahead = 4, ahead
				began := time.Now()
				r.publish(drafts(100)...)
				r.start(q)
				for len(r.Rows()) > 0 {
					pass(time.Second)
				}
				r.is.Equal(most.Load(), int64(4))
				r.is.Equal(leased.Load(), int64(4+ahead))
				r.is.True(time.Since(began) < 27*time.Second) // 25 rounds, all slots busy
				r.end()
			})
		})
	}
}

func TestEngine_ClaimsAheadWhatRunTimesSay(t *testing.T) {
	bubble(t, func(r *rig) {
		var took, leased atomic.Int64
		took.Store(int64(time.Second))
		q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			leased.Store(max(leased.Load(), int64(r.inHand())))
			time.Sleep(time.Duration(took.Load()))
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency, q.Ahead = 2, -1
		r.publish(drafts(6000)...)
		r.start(q)
		pass(time.Minute)
		r.is.Equal(leased.Load(), int64(2)) // a second each: nothing ahead

		took.Store(int64(time.Millisecond))
		pass(2 * time.Second)
		r.is.True(leased.Load() > 100) // 100 ms of work: 200 messages
		r.is.True(leased.Load() <= 202)

		took.Store(int64(time.Second))
		pass(5 * time.Minute)
		leased.Store(0)
		pass(time.Minute)
		r.is.Equal(leased.Load(), int64(2))
		r.end()
	})
}

func TestEngine_FillsBatches(t *testing.T) {
	bubble(t, func(r *rig) {
		var most, calls atomic.Int64
		var got tally
		q := queueOf(func(_ context.Context, work []store.Claimed) []store.Outcome {
			calls.Add(1)
			most.Store(max(most.Load(), int64(len(work))))
			out := make([]store.Outcome, len(work))
			for i, m := range work {
				got.add(m.ID)
				out[i].Kind = store.Ack
				if i%2 == 1 && m.Attempts == 0 { // an outcome for each message
					out[i].Kind = store.Retry
				}
			}
			time.Sleep(time.Second)
			return out
		})
		q.Concurrency, q.Batch, q.Ahead = 2, 50, 100
		r.publish(drafts(1000)...)
		r.start(q)
		pass(time.Minute)
		n, times := got.messages()
		r.is.Equal(n, 1000)
		r.is.Equal(times, 2)
		r.is.Equal(most.Load(), int64(50))
		r.is.True(calls.Load() < 45) // some 1,500 deliveries; the first few calls may get less
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

func TestEngine_WritesOutcomesTogetherAndWithTheNextClaim(t *testing.T) {
	bubble(t, func(r *rig) {
		const messages = 4000
		r.publish(drafts(messages)...)
		r.fail(slow(time.Millisecond), nil) // a network
		var got tally
		q := queueOf(got.ack())
		q.Concurrency, q.Ahead = 8, -1
		r.start(q)
		got.until(messages)
		exchanges := r.made(exchange)
		r.is.True(len(exchanges) < messages/100)
		claiming, both := 0, 0
		for _, c := range exchanges {
			if len(c.claims) > 0 {
				claiming++
				if len(c.outcomes) > 0 {
					both++
				}
			}
		}
		r.is.True(both >= claiming/3)               // two are under way at a time
		r.is.Equal(len(r.made()), len(exchanges)+1) // the first look
		r.end()
	})
}

func TestEngine_AcksAndClaimsInOneCall(t *testing.T) {
	bubble(t, func(r *rig) {
		r.publish(drafts(10)...)
		r.start(queueOf(ack))
		var sizes [][2]int
		for _, c := range r.made(exchange) {
			sizes = append(sizes, [2]int{len(c.outcomes), len(c.claims)})
		}
		want := [][2]int{{0, 1}}
		for range 10 {
			want = append(want, [2]int{1, 1})
		}
		r.is.Equal(sizes, want)
		r.end()
	})
}

func TestEngine_RetriesAndReleasesAtTheirTime(t *testing.T) {
	bubble(t, func(r *rig) {
		began := time.Now()
		var ran []time.Duration
		r.publish(drafts(1)...)
		r.start(queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			ran = append(ran, time.Since(began))
			time.Sleep(time.Second)
			switch len(ran) {
			case 1:
				return store.Outcome{Kind: store.Retry, Delay: time.Hour}
			case 2:
				r.is.Equal(m.Attempts, int64(1))
				r.is.Equal(m.Deliveries, int64(2))
				r.is.Equal(m.FirstAttemptAt, m.LastAttemptAt)
				r.is.Equal(m.FirstAttemptAt, m.CreatedAt) // when it began
				return store.Outcome{Kind: store.Release, Delay: time.Minute}
			default:
				r.is.Equal(m.Attempts, int64(1))
				r.is.Equal(m.Deliveries, int64(2)) // a release takes its delivery back
				return store.Outcome{Kind: store.Ack}
			}
		})))
		pass(3 * time.Hour)
		r.is.Equal(ran, []time.Duration{0, time.Second + time.Hour, 2*time.Second + time.Hour + time.Minute})
		r.end()
	})
}

func TestEngine_HandsBackWhatGotNoOutcome(t *testing.T) {
	bubble(t, func(r *rig) {
		var ran atomic.Int64
		r.publish(drafts(1)...)
		r.start(queueOf(func(context.Context, []store.Claimed) []store.Outcome {
			if ran.Add(1) == 1 {
				return nil
			}
			return []store.Outcome{{Kind: store.Ack}, {Kind: store.Ack}} // one too many does no harm
		}))
		pass(noOutcome)
		r.is.Equal(ran.Load(), int64(2))
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

func TestEngine_WritesNothingForWhatIsSettledAlready(t *testing.T) {
	bubble(t, func(r *rig) {
		var ran atomic.Int64
		q := queueOf(one(func(ctx context.Context, m store.Claimed) store.Outcome {
			ran.Add(1)
			_, err := r.Store.Exchange(ctx, []store.Outcome{{Lease: m.Lease, Kind: store.Ack}}, nil)
			r.is.NoErr(err)
			return store.Outcome{} // as a handler with a transaction of its own
		}))
		r.publish(drafts(100)...)
		r.start(q)
		r.is.Equal(ran.Load(), int64(100)) // they fill no lane
		for _, c := range r.made(exchange) {
			r.is.Equal(len(c.outcomes), 0)
		}
		r.is.Equal(len(r.logs.lines), 0)
		r.end()
		r.is.Equal(len(r.engine.hands.all), 0)
	})
}

func TestEngine_NeverSpins(t *testing.T) {
	bubble(t, func(r *rig) {
		// Another worker takes everything first: looks say that much is due, and
		// claims come back empty.
		r.startDeaf(queueOf(ack))
		r.publish(drafts(1)...)
		held := uuid.New()
		r.fail(func(ctx context.Context, c call) error {
			switch c.op {
			case exchange:
				_, err := r.Store.Exchange(ctx, nil, []store.Claim{{Queue: "q", Limit: 10, Token: held}})
				return err
			case look:
				return r.Store.Return(ctx, []string{"q"}, []uuid.UUID{held})
			}
			return nil
		}, nil)
		r.forget()
		pass(time.Minute)
		r.is.True(len(r.made(look)) <= 61)
		r.is.True(len(r.made(exchange)) <= 61) // one claim for each look
		r.end()
	})
}

func TestEngine_FindsLateCommitsBelowTheFloor(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(slow(20*time.Millisecond), nil)
		r.start(queueOf(ack))
		for range 20 { // claims with a floor by now
			r.publish(drafts(1)...)
			pass(50 * time.Millisecond)
		}
		floored := 0
		for _, c := range r.made(exchange) {
			for _, claim := range c.claims {
				if !claim.Since.IsZero() {
					floored++
				}
			}
		}
		r.is.True(floored > 10)

		r.publish(store.Draft{Queue: "q", At: r.Now().Add(-time.Hour)})
		pass(maxSweepGap)
		r.is.Equal(len(r.Rows()), 0)
		r.forget()
		pass(r.cfg.Poll - time.Second) // and there is peace
		r.is.True(len(r.made()) <= 1)
		r.end()
	})
}

func TestEngine_ALateBacklogIsNotLeftToTheSweeps(t *testing.T) {
	bubble(t, func(r *rig) {
		r.fail(slow(10*time.Millisecond), nil)
		var got tally
		q := queueOf(got.ack())
		q.Ahead = 99
		r.start(q)
		for range 20 {
			r.publish(drafts(1)...)
			pass(50 * time.Millisecond)
		}
		late := drafts(3000)
		for i := range late {
			late[i].At = r.Now().Add(-time.Hour)
		}
		r.publish(late...)
		began := time.Now()
		got.until(3020)
		// Thirty claims, or some more; by sweeps alone it would be 5 s.
		r.is.True(time.Since(began) < 1500*time.Millisecond)
		r.end()
	})
}

func TestEngine_LargePayloadsBoundClaims(t *testing.T) {
	bubble(t, func(r *rig) {
		r.payload = make([]byte, 4<<20)
		r.publish(drafts(100)...)
		var most atomic.Int64
		var got tally
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			got.add(m.ID)
			most.Store(max(most.Load(), int64(r.inHand())))
			time.Sleep(time.Millisecond)
			return store.Outcome{Kind: store.Ack}
		}))
		q.Ahead = -1
		r.start(q)
		got.until(100)
		r.is.Equal(most.Load(), int64(8))
		r.end()
	})
}
