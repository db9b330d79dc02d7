package storetest

import (
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func expiredScenarios() []scenario {
	return []scenario{
		{"a lease that is old enough goes to the next claim", expiredIsClaimed},
		{"a younger lease stays", expiredOnlyOld},
		{"rows that nobody holds stay", expiredIgnoresPending},
		{"rows of other queues stay", expiredOnlyItsQueue},
		{"rows come in the order they became due, up to the limit", expiredOrderAndLimit},
		{"a row that is claimed anew is not expired", expiredStartsAnew},
	}
}

func expiredIsClaimed(s *scene) {
	ids := s.publishN("orders", 1)
	first := s.claimOne("orders")
	s.advance(2 * time.Hour)
	claim := expired("orders", 10, time.Hour)

	got := s.claim(claim).Messages

	s.Equal(idsOf(got), ids)
	s.Equal(got[0].Token, claim.Token)
	s.Equal(got[0].Deliveries, int64(2))
	s.Equal(got[0].Attempts, int64(0)) // a lost lease is not a failed attempt
	s.True(got[0].FirstAttemptAt.IsZero())
	s.True(got[0].ClaimedAt.Sub(got[0].DueAt) > first.ClaimedAt.Sub(first.DueAt)+time.Hour)

	row := s.row(ids[0])
	s.Equal(row.Token, claim.Token)
	s.Equal(row.Deliveries, int64(2))
	s.about(row.Now.Sub(row.ClaimedAt), 0)
	s.about(row.Now.Sub(row.DueAt), 2*time.Hour) // a claim leaves the due time
}

func expiredOnlyOld(s *scene) {
	ids := s.publishN("orders", 2)
	old := s.claimOne("orders")
	s.advance(40 * time.Minute)
	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 0) // none is old enough

	young := s.claimOne("orders")
	s.advance(40 * time.Minute)

	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), []int64{old.ID})
	s.Equal(s.row(young.ID).Token, young.Token)
	s.Equal(sorted([]int64{old.ID, young.ID}), sorted(ids))
}

func expiredIgnoresPending(s *scene) {
	s.publish(draft("orders", 0), draft("orders", time.Minute))
	s.advance(2 * time.Hour)

	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 0)
	for _, row := range s.rows() {
		s.True(!row.held())
	}
}

func expiredOnlyItsQueue(s *scene) {
	s.publish(draft("orders", 0), draft("other", 0))
	mine, other := s.claimOne("orders"), s.claimOne("other")
	s.advance(2 * time.Hour)

	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), []int64{mine.ID})
	s.Equal(s.row(other.ID).Token, other.Token)
}

func expiredOrderAndLimit(s *scene) {
	ids := s.publish(
		draft("orders", 3*time.Minute),
		draft("orders", 1*time.Minute),
		draft("orders", 2*time.Minute),
	)
	s.advance(time.Hour)
	s.Equal(len(s.claimUpTo("orders", 10)), 3)
	s.advance(2 * time.Hour)

	some := s.claim(expired("orders", 2, time.Hour)).Messages
	s.Equal(len(some), 2)
	s.True(slices.IsSortedFunc(some, func(a, b store.Claimed) int { return a.DueAt.Compare(b.DueAt) }))
	rest := s.claim(expired("orders", 2, time.Hour)).Messages
	s.Equal(len(rest), 1)
	s.Equal(sorted(idsOf(append(some, rest...))), sorted(ids)) // each once

	s.advance(2 * time.Hour)
	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), []int64{ids[1], ids[2], ids[0]})
}

func expiredStartsAnew(s *scene) {
	s.publishN("orders", 1)
	s.claimOne("orders")
	s.advance(2 * time.Hour)
	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 1)

	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 0)
	s.advance(40 * time.Minute)
	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 0)
}
