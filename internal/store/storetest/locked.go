package storetest

import "time"

// lockedScenarios are about rows that a transaction elsewhere has locked. They
// need a [Locker]; that nothing waits shows in that they end.
func lockedScenarios() []scenario {
	return []scenario{
		{"a claim passes over it", lockedIsNotClaimed},
		{"a claim of expired leases passes over it", lockedIsNotTakenOver},
		{"extend leaves it and counts it as held", lockedIsHeld},
		{"look sees it", lockedIsSeen},
	}
}

// lock locks the rows, or skips the scenario where the store has no locks.
func (s *scene) lock(ids ...int64) (unlock func()) {
	s.t.Helper()
	s.Helper()
	l, ok := s.h.(Locker)
	if !ok {
		s.t.Skip("this store has no row locks")
	}
	release, err := l.Lock(s.ctx, ids...)
	s.NoErr(err)
	return func() {
		s.t.Helper()
		s.Helper()
		s.NoErr(release())
	}
}

func lockedIsNotClaimed(s *scene) {
	ids := s.publishN("orders", 3)
	unlock := s.lock(ids[0])

	s.Equal(idsOf(s.claimUpTo("orders", 10)), ids[1:])

	unlock()
	s.Equal(idsOf(s.claimUpTo("orders", 10)), ids[:1])
}

func lockedIsNotTakenOver(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	s.advance(2 * time.Hour)
	unlock := s.lock(ms[0].ID)

	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), []int64{ms[1].ID})

	unlock()
	s.Equal(s.settle(ack(ms[0])), []int64{ms[0].ID})
}

func lockedIsHeld(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	s.advance(time.Hour)
	unlock := s.lock(ms[0].ID)

	s.Equal(s.extend(leasesOf(ms)...), sorted(idsOf(ms)))

	unlock()
	left, kept := s.row(ms[0].ID), s.row(ms[1].ID)
	s.about(left.Now.Sub(left.ClaimedAt), time.Hour)
	s.about(kept.Now.Sub(kept.ClaimedAt), 0)
}

func lockedIsSeen(s *scene) {
	ids := s.publishN("orders", 1)
	unlock := s.lock(ids[0])

	got := s.look(watch("orders"))[0]
	s.True(got.HasNext)
	s.True(got.NextDue <= 0)

	unlock()
}
