package storetest

import (
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

func extendScenarios() []scenario {
	return []scenario{
		{"nothing to extend is fine", extendNothing},
		{"a lease lasts past its expiry", extendKeeps},
		{"only the lease's age changes", extendChangesAge},
		{"only leases that are held come back", extendOnlyHeld},
		{"leases of several queues and claims go together", extendAcross},
	}
}

func extendNothing(s *scene) {
	s.Equal(s.extend(), []int64{})
}

func extendKeeps(s *scene) {
	s.publishN("orders", 2)
	kept, left := s.claimOne("orders"), s.claimOne("orders")
	s.advance(40 * time.Minute)
	s.Equal(s.extend(kept.Lease), []int64{kept.ID})
	s.advance(40 * time.Minute)

	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), []int64{left.ID})
	s.Equal(s.settle(ack(kept)), []int64{kept.ID})
}

func extendChangesAge(s *scene) {
	s.publishN("orders", 1)
	s.settle(retry(s.claimOne("orders"), 0, 5*time.Minute))
	m := s.claimOne("orders")
	s.advance(time.Hour)
	before := s.row(m.ID)

	s.Equal(s.extend(m.Lease), []int64{m.ID})

	after := s.row(m.ID)
	s.about(before.Now.Sub(before.ClaimedAt), time.Hour)
	s.about(after.Now.Sub(after.ClaimedAt), 0)
	s.Equal(after.Lease, before.Lease)
	s.Equal(after.Deliveries, before.Deliveries)
	s.Equal(after.Attempts, before.Attempts)
	s.True(after.DueAt.Equal(before.DueAt))
	s.True(after.FirstAttemptAt.Equal(before.FirstAttemptAt))
	s.True(after.LastAttemptAt.Equal(before.LastAttemptAt))
}

func extendOnlyHeld(s *scene) {
	s.publishN("orders", 4)
	ms := s.claimUpTo("orders", 4)
	s.settle(ack(ms[0]), release(ms[1], 0))
	s.advance(2 * time.Hour)
	leases := leasesOf(ms)
	leases[2].Token = uuid.New()

	s.Equal(s.extend(leases...), []int64{ms[3].ID})

	s.about(s.row(ms[2].ID).Now.Sub(s.row(ms[2].ID).ClaimedAt), 2*time.Hour) // its lease goes on as it was
}

func extendAcross(s *scene) {
	s.publish(draft("orders", 0), draft("orders", 0), draft("invoices", 0))
	ms := []store.Claimed{s.claimOne("orders"), s.claimOne("invoices"), s.claimOne("orders")}
	s.advance(2 * time.Hour)

	s.Equal(s.extend(leasesOf(ms)...), sorted(idsOf(ms)))

	ex := s.exchange(nil, expired("orders", 10, time.Hour), expired("invoices", 10, time.Hour))
	s.Equal(len(ex.Batches[0].Messages), 0)
	s.Equal(len(ex.Batches[1].Messages), 0)
}
