package memory

import (
	"context"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/store"
)

// What follows is for handlers whose messages end in a transaction of their own.

// Lock locks rows and does nothing to them.
func (v *View) Lock(ctx context.Context, ids ...int64) error {
	return v.do(ctx, func() bool {
		for _, id := range ids {
			if !v.free(id) {
				return true
			}
		}
		for _, id := range ids {
			v.lock(id)
		}
		return false
	})
}

// Leased reports whether a row holds its token.
func (v *View) Leased(ctx context.Context, l store.Lease) (held bool, err error) {
	err = v.do(ctx, func() bool {
		r := v.row(l.ID)
		held = r != nil && r.heldBy(l)
		return false
	})
	return held, err
}

// Ack deletes a leased row. It is false where the row no longer holds the token:
// then the transaction must not commit.
func (v *View) Ack(ctx context.Context, l store.Lease) (ours bool, err error) {
	err = v.do(ctx, func() bool {
		r := v.row(l.ID)
		if r == nil || !r.heldBy(l) {
			return false
		}
		if !v.free(l.ID) {
			return true
		}
		v.write(l.ID, nil)
		ours = true
		return false
	})
	return ours, err
}

// Hold locks due rows and returns them, as [store.Claim] asks, but without a
// lease: where a row has an expired one, the message carries its old token.
func (v *View) Hold(ctx context.Context, c store.Claim) (batch store.Batch, err error) {
	err = v.do(ctx, func() bool {
		q := v.s.queues[c.Queue]
		if q == nil {
			return false
		}
		var rows []*row
		switch {
		case !v.pausedSince(c.Queue).IsZero():
		case c.ExpiredAfter > 0:
			rows = v.s.expired(q, c, v.tx.now)
		default:
			rows, batch.PassedOver = v.s.due(q, c, v.tx.now)
		}
		for _, r := range rows {
			v.lock(r.ID)
			m := r.copy()
			m.Deliveries++
			m.ClaimedAt = v.tx.now
			batch.Messages = append(batch.Messages, m)
		}
		if c.ExpiredAfter <= 0 && len(rows) < c.Limit {
			batch.NextDue, batch.HasNext = q.nextDue(v.tx.now.UnixMicro()+1, v.tx.now)
		}
		return false
	})
	return batch, err
}

// HoldAgain locks a row that another transaction held and gave up. It is false
// where the row is no longer as it was then.
func (v *View) HoldAgain(ctx context.Context, c *store.Claimed) (ours bool, err error) {
	err = v.do(ctx, func() bool {
		r := v.row(c.ID)
		if r == nil || !v.free(c.ID) || r.Token != c.Token || r.Attempts != c.Attempts || r.Deliveries != c.Deliveries-1 {
			return false
		}
		v.lock(c.ID)
		ours = true
		return false
	})
	return ours, err
}

// Settle writes outcomes of rows that the transaction holds, and passes over what
// is buried.
func (v *View) Settle(ctx context.Context, outcomes []store.Outcome) (ids []int64, err error) {
	err = v.do(ctx, func() bool {
		now := v.s.clock.now() // the transaction began before the handler
		for _, o := range outcomes {
			r := v.row(o.ID)
			if r == nil || r.Token != o.Token || o.Kind == store.Bury || o.Kind == 0 {
				continue
			}
			v.write(o.ID, r.settled(o, now, true))
			ids = append(ids, o.ID)
		}
		return false
	})
	return ids, err
}

// Bury moves rows that the transaction holds to the dead letters.
func (v *View) Bury(ctx context.Context, outcomes []store.Outcome) error {
	var broken error
	err := v.do(ctx, func() bool {
		if broken = v.s.deadErr; broken != nil {
			return false
		}
		for _, o := range outcomes {
			if r := v.row(o.ID); r != nil && r.Token == o.Token {
				v.bury(r, o)
			}
		}
		return false
	})
	if err == nil && broken != nil {
		err = fmt.Errorf("bury: %w", broken)
	}
	return err
}
