package storetest

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func nextDueScenarios() []scenario {
	return []scenario{
		{"a short claim says how long until the next row is due", nextDueOfShortClaim},
		{"it is absent where the queue has no further row", nextDueAbsent},
		{"it is absent where the claim is full", nextDueOnlyOfShortClaims},
		{"it is absent where the claim is for expired leases", nextDueNotOfExpired},
		{"claimed rows do not count", nextDueIgnoresClaimed},
		{"the floor bounds it too", nextDueFromFloor},
	}
}

func nextDueOfShortClaim(s *scene) {
	s.publish(
		draft("orders", 0),
		draft("orders", 2*time.Hour),
		draft("orders", time.Hour),
		draft("other", time.Minute),
	)

	batch := s.claim(pending("orders", 2))
	s.Equal(len(batch.Messages), 1)
	s.True(batch.HasNext)
	s.about(batch.NextDue, time.Hour)

	s.advance(20 * time.Minute)
	batch = s.claim(pending("orders", 2))
	s.Equal(len(batch.Messages), 0)
	s.True(batch.HasNext)
	s.about(batch.NextDue, 40*time.Minute)
}

func nextDueAbsent(s *scene) {
	s.publish(draft("orders", 0), draft("other", time.Hour))

	batch := s.claim(pending("orders", 2))
	s.Equal(len(batch.Messages), 1)
	s.True(!batch.HasNext)
	s.Equal(batch.NextDue, time.Duration(0))

	s.True(!s.claim(pending("nobody's", 2)).HasNext)
}

func nextDueOnlyOfShortClaims(s *scene) {
	s.publish(draft("orders", 0), draft("orders", 0), draft("orders", time.Hour))

	batch := s.claim(pending("orders", 2))

	s.Equal(len(batch.Messages), 2)
	s.True(!batch.HasNext) // whoever got all it asked for asks again
	s.Equal(batch.NextDue, time.Duration(0))
}

func nextDueNotOfExpired(s *scene) {
	s.publish(draft("orders", time.Hour))

	batch := s.claim(expired("orders", 10, time.Minute))

	s.Equal(len(batch.Messages), 0)
	s.True(!batch.HasNext)
	s.Equal(batch.NextDue, time.Duration(0))
}

func nextDueIgnoresClaimed(s *scene) {
	s.publish(draft("orders", 0), draft("orders", 0))
	s.claimOne("orders")

	batch := s.claim(pending("orders", 2))

	s.Equal(len(batch.Messages), 1)
	s.True(!batch.HasNext) // both are held
}

func nextDueFromFloor(s *scene) {
	s.publish(draft("orders", 0), draft("orders", 0))
	floor := s.claimUpTo("orders", 2)[1].DueAt
	late := s.publish(
		store.Draft{Queue: "orders", At: floor.Add(-time.Minute)},
		store.Draft{Queue: "orders", At: floor.Add(time.Hour)},
	)
	claim := pending("orders", 2)
	claim.Since = floor

	batch := s.claim(claim)

	s.Equal(len(batch.Messages), 0)
	s.True(batch.HasNext)
	s.about(batch.NextDue, time.Hour) // and not that of the row below the floor
	s.True(!s.row(late[0]).held())
}
