package storetest

import (
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// staleScenarios are every way to come too late, crossed with every way to
// write: none of them changes anything, nor counts as done.
func staleScenarios() []scenario {
	late := []struct {
		name string
		// lose leaves the scene with a lease that is no longer good.
		lose func(s *scene) store.Claimed
	}{
		{"whose row another has claimed", loseToAnother},
		{"that was given back", loseByRelease},
		{"whose row is gone", loseByAck},
		{"that never was", loseNothing},
	}
	writes := []struct {
		name  string
		write func(s *scene, m store.Claimed) []int64
	}{
		{"ack", func(s *scene, m store.Claimed) []int64 { return s.settle(ack(m)) }},
		{"retry", func(s *scene, m store.Claimed) []int64 { return s.settle(retry(m, time.Hour, time.Minute)) }},
		{"release", func(s *scene, m store.Claimed) []int64 { return s.settle(release(m, time.Hour)) }},
		{"bury", func(s *scene, m store.Claimed) []int64 { return s.bury(bury(m, "rejected", "late")) }},
		{"extend", func(s *scene, m store.Claimed) []int64 { return s.extend(m.Lease) }},
	}
	var out []scenario
	for _, l := range late {
		for _, w := range writes {
			out = append(out, scenario{w.name + " of a lease " + l.name, func(s *scene) {
				m := l.lose(s)
				before := s.rows()
				s.Equal(w.write(s, m), []int64{}) // it did not take effect
				s.unchanged(before)
			}})
		}
	}
	return append(out,
		scenario{"the others in the batch take effect", staleAmongGood},
		scenario{"an old lease that nobody took is still good", oldLeaseIsGood},
	)
}

// unchanged says that the table is as it was, and that nothing was buried.
func (s *scene) unchanged(before []Row) {
	s.t.Helper()
	s.Helper()
	after := s.rows()
	s.Equal(len(after), len(before))
	for i, b := range before {
		a := after[i]
		s.Equal(a.Lease, b.Lease)
		s.Equal(a.Attempts, b.Attempts)
		s.Equal(a.Deliveries, b.Deliveries)
		s.True(a.DueAt.Equal(b.DueAt))
		s.True(a.ClaimedAt.Equal(b.ClaimedAt))
		s.True(a.FirstAttemptAt.Equal(b.FirstAttemptAt))
		s.True(a.LastAttemptAt.Equal(b.LastAttemptAt))
	}
	s.Equal(len(s.deadLetters()), 0)
}

func loseToAnother(s *scene) store.Claimed {
	s.publishN("orders", 1)
	m := s.claimOne("orders")
	s.advance(2 * time.Hour)
	s.Equal(idsOf(s.claim(expired("orders", 1, time.Hour)).Messages), []int64{m.ID})
	return m
}

func loseByRelease(s *scene) store.Claimed {
	s.publishN("orders", 1)
	m := s.claimOne("orders")
	s.Equal(s.settle(release(m, 0)), []int64{m.ID})
	return m
}

func loseByAck(s *scene) store.Claimed {
	s.publishN("orders", 2)
	m := s.claimOne("orders")
	s.Equal(s.settle(ack(m)), []int64{m.ID})
	return m
}

func loseNothing(s *scene) store.Claimed {
	s.publishN("orders", 2)
	m := s.claimOne("orders")
	m.Token = uuid.New()
	return m
}

func staleAmongGood(s *scene) {
	s.publishN("orders", 6)
	ms := s.claimUpTo("orders", 6)
	s.Equal(len(ms), 6)
	for i := range 3 {
		ms[i].Token = uuid.New()
	}

	got := s.settle(
		ack(ms[0]), retry(ms[1], 0, 0), release(ms[2], 0),
		ack(ms[3]), retry(ms[4], 0, 0), release(ms[5], 0),
	)

	s.Equal(got, sorted(idsOf(ms[3:])))
	for _, m := range ms[:3] {
		s.True(s.row(m.ID).held())
	}
}

func oldLeaseIsGood(s *scene) {
	s.publishN("orders", 4)
	ms := s.claimUpTo("orders", 4)
	s.advance(24 * time.Hour)

	s.Equal(s.extend(leasesOf(ms)...), sorted(idsOf(ms)))
	s.advance(24 * time.Hour)
	s.Equal(s.settle(ack(ms[0]), retry(ms[1], 0, 0), release(ms[2], 0)), sorted(idsOf(ms[:3])))
	s.Equal(s.bury(bury(ms[3], "rejected", "")), []int64{ms[3].ID})
}
