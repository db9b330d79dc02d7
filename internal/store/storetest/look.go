package storetest

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func lookScenarios() []scenario {
	return []scenario{
		{"no question has no answer", lookNothing},
		{"the next row's time is told", lookNextDue},
		{"a due row is due in zero time or less", lookDue},
		{"claimed rows do not count as next", lookIgnoresClaimed},
		{"expired leases are told of when asked and old enough", lookExpired},
		{"answers come in the order of the questions", lookInOrder},
		{"nothing is written", lookWritesNothing},
	}
}

func watch(queue string) store.Watch { return store.Watch{Queue: queue} }

func lookNothing(s *scene) {
	s.Equal(len(s.look()), 0)
}

func lookNextDue(s *scene) {
	s.publish(draft("orders", 2*time.Hour), draft("orders", time.Hour), draft("other", time.Minute))

	got := s.look(watch("orders"))[0]
	s.True(got.HasNext)
	s.about(got.NextDue, time.Hour)
	s.True(!got.Expired)

	s.advance(20 * time.Minute)
	s.about(s.look(watch("orders"))[0].NextDue, 40*time.Minute)
}

func lookDue(s *scene) {
	s.publish(draft("orders", 0), draft("orders", time.Hour))

	got := s.look(watch("orders"))[0]
	s.True(got.HasNext)
	s.True(got.NextDue <= 0)

	s.advance(30 * time.Minute)
	s.about(s.look(watch("orders"))[0].NextDue, -30*time.Minute) // since when
}

func lookIgnoresClaimed(s *scene) {
	s.publish(draft("orders", 0))
	s.claimOne("orders")
	s.True(!s.look(watch("orders"))[0].HasNext)

	s.publish(draft("orders", time.Hour))
	got := s.look(watch("orders"))[0]
	s.True(got.HasNext)
	s.about(got.NextDue, time.Hour)
}

func lookExpired(s *scene) {
	s.publish(draft("orders", 0), draft("other", 0))
	m := s.claimOne("orders")
	asked := store.Watch{Queue: "orders", ExpiredAfter: time.Hour}
	s.True(!s.look(asked)[0].Expired) // too young
	s.advance(30 * time.Minute)
	s.True(!s.look(asked)[0].Expired) // still
	s.advance(40 * time.Minute)

	got := s.look(asked, watch("orders"), store.Watch{Queue: "other", ExpiredAfter: time.Hour},
		store.Watch{Queue: "orders", ExpiredAfter: 2 * time.Hour})
	s.True(got[0].Expired)
	s.True(!got[1].Expired) // not asked
	s.True(!got[2].Expired) // an old row, but nobody holds it
	s.True(!got[3].Expired) // not old enough

	s.extend(m.Lease)
	s.True(!s.look(asked)[0].Expired)
	s.advance(2 * time.Hour)
	s.True(s.look(asked)[0].Expired)
	s.settle(ack(m))
	s.True(!s.look(asked)[0].Expired)
}

func lookInOrder(s *scene) {
	s.publish(draft("a", time.Hour), draft("b", 2*time.Hour), draft("c", 3*time.Hour))

	got := s.look(watch("c"), watch("nobody's"), watch("a"), watch("b"), watch("a"))

	for i, want := range []time.Duration{3 * time.Hour, 0, time.Hour, 2 * time.Hour, time.Hour} {
		s.Equal(got[i].HasNext, want > 0)
		s.about(got[i].NextDue, want)
		s.True(!got[i].Expired)
	}
	s.Equal(got[1], store.Outlook{Queue: "nobody's"})
}

func lookWritesNothing(s *scene) {
	s.publish(draft("orders", 0), draft("orders", 0), draft("orders", time.Hour))
	s.claimOne("orders")
	s.advance(2 * time.Hour)
	before := s.rows()

	s.look(store.Watch{Queue: "orders", ExpiredAfter: time.Hour})

	s.unchanged(before)
}
