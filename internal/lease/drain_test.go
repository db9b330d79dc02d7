package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

func TestEngine_ReturnsUnstartedRowsOnDrain(t *testing.T) {
	bubble(t, func(r *rig) {
		var got tally
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			got.add(m.ID)
			time.Sleep(5 * time.Second)
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency, q.Ahead = 2, 100
		r.publish(drafts(150)...)
		r.start(q)
		r.is.Equal(r.leased(), 102)
		r.forget()
		r.cancel()
		pass(10 * time.Millisecond)
		r.is.Equal(r.leased(), 2) // at once, not after the grace period
		r.is.Equal(len(r.made()), 1)
		r.is.Equal(len(r.made(exchange)[0].outcomes), 100)

		r.publish(drafts(1)...) // nobody claims it
		took, err := r.stop()
		r.is.NoErr(err)
		r.is.True(took < 6*time.Second) // the running ones finish within the grace period
		n, most := got.messages()
		r.is.Equal(n, 2)
		r.is.Equal(most, 1)
		rows := r.Rows()
		r.is.Equal(len(rows), 149)
		for _, row := range rows {
			r.is.Equal(row.Deliveries, int64(0))
			r.is.Equal(row.Attempts, int64(0))
			r.is.True(row.ClaimedAt.IsZero())
		}
		for _, c := range r.made(exchange) {
			r.is.Equal(len(c.claims), 0)
		}
	})
}

func TestEngine_CancelsRunningWorkAfterTheGracePeriod(t *testing.T) {
	for _, grace := range []time.Duration{0, 10 * time.Second} {
		t.Run(grace.String(), func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.cfg.Grace = grace
				var cause error
				r.publish(drafts(1)...)
				r.start(queueOf(one(func(ctx context.Context, _ store.Claimed) store.Outcome {
					<-ctx.Done()
					cause = context.Cause(ctx)
					time.Sleep(time.Second) // it tidies up
					return store.Outcome{Kind: store.Release}
				})))
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.True(errors.Is(cause, ErrShutdown))
				r.is.Equal(took, grace+time.Second)
				row := r.Rows()[0]
				r.is.True(row.ClaimedAt.IsZero())
				r.is.Equal(row.Attempts, int64(0))
				r.is.Equal(row.Deliveries, int64(0))
				r.is.Equal(r.logs.count(slog.LevelWarn), 1)
			})
		})
	}
}

func TestEngine_LeavesWedgedWorkBehind(t *testing.T) {
	bubble(t, func(r *rig) {
		free := make(chan struct{})
		q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			<-free
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency, q.Ahead = 2, 5
		r.publish(drafts(9)...)
		r.start(q)
		took, err := r.stop()
		var unfinished *UnfinishedError
		r.is.True(errors.As(err, &unfinished))
		r.is.Equal(unfinished.Messages, 2)
		r.is.Equal(took, r.cfg.Grace+cancelWait)
		r.is.Equal(r.logs.count(slog.LevelError), 2)
		r.is.Equal(r.leased(), 2)
		close(free)
		pass(time.Second) // they return to nobody, and do no harm
		r.is.Equal(r.leased(), 2)
	})
}

func TestEngine_WritesDeadLettersDuringDrain(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(one(func(ctx context.Context, m store.Claimed) store.Outcome {
			time.Sleep(time.Duration(m.ID) * time.Second)
			return store.Outcome{Kind: store.Bury, Reason: "because"}
		}))
		q.Concurrency = 3
		r.publish(drafts(3)...)
		r.start(q)
		r.fail(slow(300*time.Millisecond), nil)
		took, err := r.stop()
		r.is.NoErr(err)
		r.is.True(took < 4*time.Second)
		r.is.Equal(len(r.Rows()), 0)
		r.is.Equal(len(r.DeadLetters()), 3)
		r.is.Equal(r.logs.count(slog.LevelWarn), 0)
	})
}

func TestEngine_CutsNoDeadLetterOff(t *testing.T) {
	bubble(t, func(r *rig) {
		r.publish(graves(1, "bad")...)
		r.fail(func(ctx context.Context, c call) error {
			if c.op == bury {
				return pause(ctx, 500*time.Millisecond)
			}
			return nil
		}, nil)
		r.start(queueOf(sorting))
		r.is.Equal(len(r.made(bury)), 1) // under way
		took, err := r.stop()
		r.is.NoErr(err)
		r.is.Equal(took, 500*time.Millisecond)
		r.is.Equal(len(r.made(bury)), 1)
		r.is.Equal(len(r.DeadLetters()), 1)
		r.is.Equal(len(r.logs.lines), 0)
	})
}

func TestEngine_HandsBackDeadLettersThatCannotBeWritten(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(context.Context, call) error
	}{
		{name: "refusing", down: failing(bury)},
		{name: "hanging", down: func(ctx context.Context, c call) error { // as behind a lock on the table
			_ = pause(ctx, 100*time.Millisecond)
			return hanging(bury)(ctx, c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.fail(tt.down, nil)
				r.publish(graves(5, "bad")...)
				r.start(queueOf(sorting))
				pass(time.Second)
				r.is.Equal(r.leased(), 5)
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.True(took <= lastWrites)
				r.is.Equal(len(r.Rows()), 5)
				for _, row := range r.Rows() {
					r.is.True(row.ClaimedAt.IsZero())
					r.is.Equal(row.Deliveries, int64(0))
				}
			})
		})
	}
}

func TestEngine_DrainIsBoundedWhateverTheStoreDoes(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(context.Context, call) error
	}{
		{name: "refusing", down: failing(exchange, look, extend, giveBack, bury)},
		{name: "hanging", down: hanging(exchange, look, extend, giveBack, bury)},
		{name: "slow", down: slow(1500 * time.Millisecond)},
		{name: "very slow", down: slow(1900 * time.Millisecond)},
	} {
		for _, grace := range []time.Duration{0, 3 * time.Second} {
			t.Run(tt.name+"/grace="+grace.String(), func(t *testing.T) {
				bubble(t, func(r *rig) {
					free := make(chan struct{})
					defer close(free)
					r.cfg.Grace = grace
					q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
						switch {
						case m.ID == 1:
							<-free
							return store.Outcome{Kind: store.Ack}
						case m.ID%2 == 0:
							time.Sleep(time.Second)
							return store.Outcome{Kind: store.Bury}
						}
						time.Sleep(700 * time.Millisecond)
						return store.Outcome{Kind: store.Ack}
					}))
					q.Concurrency, q.Ahead = 4, 20
					r.publish(drafts(50)...)
					r.start(q)
					r.fail(tt.down, nil)
					pass(1300 * time.Millisecond) // in the middle of a call
					took, err := r.stop()
					var unfinished *UnfinishedError
					r.is.True(errors.As(err, &unfinished))
					r.is.Equal(unfinished.Messages, 1)
					r.is.True(took <= grace+DrainBound)
				})
			})
		}
	}
}

func TestEngine_WritesWhatItCanWhenTheStoreComesBackDuringDrain(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(sorting)
		q.Process = one(func(ctx context.Context, m store.Claimed) store.Outcome {
			time.Sleep(time.Second)
			return sorting(ctx, []store.Claimed{m})[0]
		})
		q.Concurrency, q.Ahead = 2, 4
		r.publish(append(graves(5, "bad"), drafts(50)...)...)
		// The answers of all calls are lost, so that there are orphans, until a
		// second after all has come to rest.
		r.start(q)
		var back atomic.Bool
		r.fail(func(ctx context.Context, c call) error {
			if c.op == giveBack && !back.Load() {
				return errStore
			}
			return nil
		}, func(call) error {
			if !back.Load() {
				return errStore
			}
			return nil
		})
		pass(2500 * time.Millisecond)
		r.is.True(len(r.engine.pump.orphans) > 0)
		time.AfterFunc(time.Second, func() { back.Store(true) })
		_, err := r.stop()
		r.is.NoErr(err)
		r.is.Equal(r.leased(), 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 0)
	})
}

func TestEngine_WritesWhatTheBurierHandsBackLast(t *testing.T) {
	bubble(t, func(r *rig) {
		// The list of dead letters is full when one more comes, and all but that
		// one can be written.
		r.cfg.Queues = []Queue{queueOf(nil)}
		e := New(r.cfg)
		e.burier.start(context.Background())
		token := uuid.New()
		r.publish(drafts(maxGraves + 1)...)
		r.claimFor(token, maxGraves+1)
		entries := make([]entry, maxGraves+1)
		for i := range entries {
			h := &hand{Lease: store.Lease{ID: int64(i + 1), Token: token}, lane: e.lanes[0]}
			entries[i] = entry{hand: h, outcome: store.Outcome{Lease: h.Lease, Kind: store.Bury}}
		}
		e.burier.waiting = entries[:maxGraves:maxGraves]
		e.ledger.add(entries[maxGraves])
		e.finalWrites(context.Background())
		r.is.Equal(len(r.DeadLetters()), maxGraves)
		r.is.Equal(len(r.Rows()), 1)
		r.is.Equal(r.leased(), 0)
	})
}

func TestEngine_ReturnsOrphansAtTheStartOfADrain(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(one(func(context.Context, store.Claimed) store.Outcome {
			time.Sleep(5 * time.Second)
			return store.Outcome{Kind: store.Ack}
		}))
		q.Concurrency = 2
		r.publish(drafts(1)...)
		r.start(q)
		r.fail(nil, func(c call) error {
			if c.op == exchange {
				r.cancel() // before it can be returned
				return errStore
			}
			return nil
		})
		r.publish(drafts(1)...)
		r.fail(nil, nil)
		pass(time.Second)
		r.is.Equal(r.leased(), 1) // the one that runs
		r.end()
	})
}

func TestEngine_LeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	// In a bubble synctest sees to it; this is the same in real time.
	r := newRig(t)
	var got tally
	q := queueOf(got.ack())
	q.Concurrency = 4
	_, err := r.Publish(t.Context(), drafts(20)...)
	r.is.NoErr(err)
	r.cfg.Queues = []Queue{q}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.fail(nil, func(call) error {
		if n, _ := got.messages(); n == 20 {
			cancel()
		}
		return nil
	})
	e := New(r.cfg)
	r.is.NoErr(e.Run(ctx))

	// Other tests run beside this one, so look for this engine's parts alone.
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, part := range []any{e, e.pump, e.burier} {
		r.is.True(!strings.Contains(string(stacks), fmt.Sprintf("%p", part)))
	}
}
