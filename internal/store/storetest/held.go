package storetest

import (
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// heldScenarios are about rows that a transaction holds while it handles them.
// They need a [Holder].
func heldScenarios() []scenario {
	return []scenario{
		{"the times of a retry count from its settlement, however long the hold was", heldRetryTimes},
		{"the delay of a release counts from its settlement", heldReleaseTimes},
		{"a delivery is counted once it has failed, whoever had the row before", heldDeliveries},
	}
}

// hold holds the one row that must be there, or skips the scenario where the
// store has no transactions. It returns the transaction, in which some time has
// passed, and the store's clock since then.
func (s *scene) hold(c store.Claim) (h Hold, m store.Claimed, now time.Time) {
	s.t.Helper()
	s.Helper()
	holder, ok := s.h.(Holder)
	if !ok {
		s.t.Skip("this store holds nothing in transactions")
	}
	c.Token = uuid.Nil
	h, batch, err := holder.Hold(s.ctx, c)
	s.NoErr(err)
	s.Equal(len(batch.Messages), 1) // a row to hold
	now, err = h.Pass(s.ctx)
	s.NoErr(err)
	return h, batch.Messages[0], now
}

func heldRetryTimes(s *scene) {
	ids := s.publishN("orders", 1)
	h, m, now := s.hold(pending("orders", 1))

	s.NoErr(h.Settle(s.ctx, retry(m, time.Hour, 0)))
	s.NoErr(h.Commit(s.ctx))

	row := s.row(ids[0])
	s.Equal(row.Attempts, int64(1))
	s.True(!row.DueAt.Before(now.Add(time.Hour)))
	s.True(!row.FirstAttemptAt.Before(now))
	s.True(row.LastAttemptAt.Equal(row.FirstAttemptAt))
	s.dueIn(row, time.Hour)
}

func heldReleaseTimes(s *scene) {
	ids := s.publishN("orders", 2)
	h, m, now := s.hold(pending("orders", 1))

	s.NoErr(h.Settle(s.ctx, release(m, time.Hour)))
	s.NoErr(h.Commit(s.ctx))

	row := s.row(ids[0])
	s.Equal(row.Attempts, int64(0))
	s.True(!row.DueAt.Before(now.Add(time.Hour)))
	s.dueIn(row, time.Hour)
}

func heldDeliveries(s *scene) {
	pend := func() store.Claim { return pending("orders", 1) }
	takeOver := func() store.Claim { // from a worker that died with its lease
		s.claimOne("orders")
		s.advance(2 * time.Hour)
		return expired("orders", 1, time.Hour)
	}
	for _, tt := range []struct {
		claim  func() store.Claim
		before int64 // deliveries that are counted
	}{{pend, 0}, {takeOver, 1}} {
		ids := s.publishN("orders", 1)
		h, m, _ := s.hold(tt.claim())
		s.Equal(m.Deliveries, tt.before+1)
		s.NoErr(h.Settle(s.ctx, release(m, 0)))
		s.NoErr(h.Commit(s.ctx))
		s.Equal(s.row(ids[0]).Deliveries, tt.before)
		s.settle(ack(s.claimOne("orders")))

		ids = s.publishN("orders", 1)
		h, m, _ = s.hold(tt.claim())
		s.NoErr(h.Settle(s.ctx, retry(m, 0, 0)))
		s.NoErr(h.Commit(s.ctx))
		s.Equal(s.row(ids[0]).Deliveries, tt.before+1)
		s.settle(ack(s.claimOne("orders")))

		s.publishN("orders", 1)
		h, m, _ = s.hold(tt.claim())
		s.NoErr(h.Bury(s.ctx, bury(m, "rejected", "")))
		s.NoErr(h.Commit(s.ctx))
		s.Equal(len(s.rows()), 0)
		letters := s.deadLetters()
		s.Equal(letters[len(letters)-1].Deliveries, tt.before+1)
	}
}
