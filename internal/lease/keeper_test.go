package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// patient is a Process that works for d and then acknowledges, unless it is
// cancelled before: it then says why, and fails.
func patient(d time.Duration, cancelled func(cause error)) Process {
	return func(ctx context.Context, work []store.Claimed) []store.Outcome {
		out := make([]store.Outcome, len(work))
		kind := store.Ack
		if pause(ctx, d) != nil {
			cancelled(context.Cause(ctx))
			kind = store.Retry
		}
		for i := range out {
			out[i].Kind = kind
		}
		return out
	}
}

func TestKeeper_ExtendsAllInHandWellBeforeExpiry(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(patient(10*time.Minute, func(error) { r.is.Fail() }))
		q.Concurrency, q.Ahead = 3, 5 // five of them wait
		r.publish(drafts(8)...)
		r.start(q)
		for range 10 * 60 {
			for _, row := range r.Rows() {
				r.is.True(r.Now().Sub(row.ClaimedAt) <= q.Lease/2)
				r.is.Equal(row.Deliveries, int64(1))
			}
			pass(time.Second)
		}
		r.is.True(len(r.made(extend)) <= 30) // for all of them at once
		r.is.Equal(len(r.logs.lines), 0)
		pass(time.Hour)
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

// steal gives the rows to somebody else.
func (r *rig) steal(n int) {
	got, err := r.Store.Exchange(context.Background(), nil,
		[]store.Claim{{Queue: "q", Limit: n, Token: uuid.New(), ExpiredAfter: 1}})
	r.is.NoErr(err)
	r.is.Equal(len(got.Batches[0].Messages), n)
}

func TestKeeper_CancelsWorkWhoseLeaseIsLostAndWritesNothing(t *testing.T) {
	bubble(t, func(r *rig) {
		var cause error
		q := queueOf(patient(time.Hour, func(err error) { cause = err }))
		q.Ahead = 1
		r.publish(drafts(2)...)
		r.start(q)
		pass(time.Second)
		r.steal(2)
		pass(q.Lease / 2)
		r.is.True(errors.Is(cause, ErrLost))
		for _, row := range r.Rows() { // the other one was not begun
			r.is.Equal(row.Attempts, int64(0))
			r.is.Equal(row.Deliveries, int64(2))
			r.is.True(!row.ClaimedAt.IsZero())
		}
		for _, c := range r.made(exchange) {
			r.is.Equal(len(c.outcomes), 0)
		}
		r.is.Equal(r.inHand(), 0)
		r.is.Equal(r.logs.count(slog.LevelWarn), 3) // one was also decided
		r.end()
	})
}

func TestKeeper_CancelsAtExpiryWhatCannotBeExtended(t *testing.T) {
	for _, tt := range []struct {
		name string
		down func(context.Context, call) error
	}{
		{name: "refusing", down: failing(extend)},
		{name: "hanging", down: hanging(extend)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				var began, ended time.Time
				q := queueOf(patient(time.Hour, func(err error) {
					if ended.IsZero() {
						r.is.True(errors.Is(err, ErrLost))
						ended = time.Now()
					}
				}))
				q.Ahead = 1
				r.start(q)
				pass(11 * time.Second) // out of step with the keeper
				began = time.Now()
				r.publish(drafts(2)...)
				r.fail(tt.down, nil)
				pass(3 * q.Lease)
				took := ended.Sub(began)
				r.is.True(took >= q.Lease) // not for the first failure
				r.is.True(took <= q.Lease+q.Lease/looksALife)
				r.fail(nil, nil)
				pass(3 * q.Lease)
				r.is.Equal(r.leased(), 2) // taken over, by ourselves as it happens
				for _, row := range r.Rows() {
					r.is.Equal(row.Attempts, int64(0))
				}
				r.end()
			})
		})
	}
}

func TestKeeper_ForgivesAFailedTry(t *testing.T) {
	bubble(t, func(r *rig) {
		q := queueOf(patient(time.Hour, func(error) { r.is.Fail() }))
		r.publish(drafts(1)...)
		r.start(q)
		var tries atomic.Int64
		r.fail(func(ctx context.Context, c call) error {
			if c.op == extend && tries.Add(1)%3 != 0 { // two of three
				return errStore
			}
			return nil
		}, nil)
		pass(2 * time.Hour)
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

func TestKeeper_LosesOneOfABatch(t *testing.T) {
	bubble(t, func(r *rig) {
		var sizes []int // of what was cancelled because of a lost lease
		q := queueOf(func(ctx context.Context, work []store.Claimed) []store.Outcome {
			out := make([]store.Outcome, len(work))
			if pause(ctx, time.Hour) != nil && errors.Is(context.Cause(ctx), ErrLost) {
				sizes = append(sizes, len(work))
			}
			for i := range out {
				out[i].Kind = store.Ack
			}
			return out
		})
		q.Batch = 4
		r.start(q)
		r.publish(drafts(1)...) // keeps the slot busy until
		r.publish(drafts(3)...) // these are a batch
		pass(time.Second)
		r.steal(1) // the oldest lease, of the one that runs
		for r.inHand() > 3 {
			pass(time.Second)
		}
		pass(time.Second)
		r.steal(2)
		pass(q.Lease / 2)
		r.is.Equal(sizes, []int{1, 3})
		r.is.Equal(r.leased(), 2) // by somebody else
		r.is.Equal(len(r.Rows()), 2)
		r.end()
	})
}

func TestKeeper_WorkEndsWhenItsOwnEngineTakesTheRowOver(t *testing.T) {
	bubble(t, func(r *rig) {
		// Extensions hang, and the pump sees the expired lease first.
		r.cfg.Poll = time.Second
		q := queueOf(nil)
		var begun, ended []time.Time
		q.Process = func(ctx context.Context, work []store.Claimed) []store.Outcome {
			begun = append(begun, time.Now())
			if pause(ctx, 90*time.Second) != nil {
				r.is.True(errors.Is(context.Cause(ctx), ErrLost))
				ended = append(ended, time.Now())
				r.fail(nil, nil)
			}
			return []store.Outcome{{Kind: store.Ack}}
		}
		q.Concurrency = 2
		r.start(q)
		pass(11 * time.Second) // out of step with the keeper
		r.publish(drafts(1)...)
		r.fail(hanging(extend), nil)
		pass(5 * time.Minute)
		r.is.Equal(len(begun), 2)
		r.is.Equal(ended, begun[1:]) // at once
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}

// An answer may come later than the lease that it brings, and a process may be
// stopped between the claim and the handler.
func TestKeeper_AClaimThatIsAnsweredTooLateIsNotBegun(t *testing.T) {
	bubble(t, func(r *rig) {
		var begun []time.Duration // since the claim, by the store's clock
		q := queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			begun = append(begun, r.Now().Sub(m.ClaimedAt))
			return store.Outcome{Kind: store.Ack}
		}))
		q.Lease = 5 * time.Second
		r.fail(nil, func(c call) error {
			if c.op == exchange && len(c.claims) > 0 {
				time.Sleep(q.Lease)
			}
			return nil
		})
		r.publish(drafts(1)...)
		r.start(q)
		pass(q.Lease + time.Second)
		r.is.Equal(len(begun), 0)

		r.fail(nil, nil)
		pass(3 * q.Lease)
		r.is.Equal(len(begun), 1) // taken over once the lease was over
		r.is.True(begun[0] < q.Lease)
		r.is.Equal(len(r.Rows()), 0)
		r.end()
	})
}
