package lease

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// claimed is a message under a new lease.
func claimed(id int64) store.Claimed {
	return store.Claimed{Lease: store.Lease{ID: id, Token: uuid.New()}, Queue: "q"}
}

func TestHands_LoseWhatAnExtensionDidNotFindUnlessItIsDecided(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	hs := newHands()
	l := newLane(Queue{Name: "q", Concurrency: 1, Batch: 1, Lease: time.Minute})
	now := time.Now()
	all := hs.take(l, []store.Claimed{claimed(1), claimed(2), claimed(3), claimed(4)}, now)
	old, _ := hs.old(now.Add(l.Lease/renewAfter - 1))
	is.Equal(len(old), 0)
	old, expiry := hs.old(now.Add(l.Lease / renewAfter))
	is.Equal(len(old), 4)
	is.True(expiry.Equal(now.Add(l.Lease)))
	now = now.Add(l.Lease / renewAfter)

	ctx, cancel := context.WithCancelCause(t.Context())
	kept, gone, _ := hs.begin(all[1:3], now, cancel)
	is.Equal(len(kept), 2)
	is.Equal(len(gone), 0)
	is.Equal(len(hs.running()), 2)
	is.True(!hs.settle(all[1]))
	is.Equal(len(hs.running()), 1)

	lost := hs.renewed(all, []int64{1}, now)
	is.Equal(len(lost), 2) // 2 is decided
	is.True(errors.Is(context.Cause(ctx), ErrLost))
	is.True(hs.settle(all[2]))

	kept, gone, late := hs.begin(all[3:], now, cancel) // lost before it began
	is.Equal(len(late), 0)
	is.Equal(len(kept), 0)
	is.Equal(gone, all[3:])
	old, _ = hs.old(now)
	is.Equal(old, all[1:2]) // the decided one, until it is written
	hs.drop(all...)
	old, _ = hs.old(now.Add(time.Hour))
	is.Equal(len(old), 0)
}

func TestHands_AnExtensionCountsFromWhenItWasAsked(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	hs := newHands()
	l := newLane(Queue{Name: "q", Concurrency: 1, Batch: 1, Lease: time.Minute})
	start := time.Now()
	all := hs.take(l, []store.Claimed{claimed(1)}, start)
	asked := start.Add(30 * time.Second)
	is.Equal(len(hs.renewed(all, []int64{1}, asked)), 0)

	is.Equal(len(hs.overdue(all, asked.Add(l.Lease-1))), 0)
	is.Equal(len(hs.overdue(all, asked.Add(l.Lease))), 1)
	is.Equal(len(hs.overdue(all, asked.Add(l.Lease))), 0) // said once
}

func TestHands_NothingBeginsOnceItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	hs := newHands()
	l := newLane(Queue{Name: "q", Concurrency: 1, Batch: 2, Lease: time.Minute})
	start := time.Now()
	all := hs.take(l, []store.Claimed{claimed(1), claimed(2)}, start)
	hs.renewed(all[1:], []int64{2}, start.Add(time.Second))

	kept, lost, late := hs.begin(slices.Clone(all), start.Add(l.Lease), func(error) {})
	is.Equal(kept, all[1:])
	is.Equal(lost, all[:1])
	is.Equal(late, all[:1])
	is.True(hs.settle(all[0]))
	is.Equal(len(hs.overdue(all[:1], start.Add(time.Hour))), 0) // said once
}

func TestHands_AnExpiredLeaseOfOursThatWasClaimedAgainIsLost(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	hs := newHands()
	l := newLane(Queue{Name: "q", Concurrency: 1, Batch: 1, Lease: time.Minute})
	first := hs.take(l, []store.Claimed{claimed(1), claimed(2), claimed(3)}, time.Now())
	ctx, cancel := context.WithCancelCause(t.Context())
	hs.begin(first[:1], time.Now(), cancel)
	hs.settle(first[1])

	is.Equal(hs.outlived([]store.Claimed{claimed(1), claimed(2), claimed(4)}), first[:1])

	is.True(errors.Is(context.Cause(ctx), ErrLost))
	is.Equal(len(hs.renewed(first[:1], nil, time.Now())), 0) // said once
	is.True(hs.settle(first[0]))
	is.Equal(len(hs.outlived([]store.Claimed{claimed(1)})), 0)
}
