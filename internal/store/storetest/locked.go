package storetest

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// lockedScenarios are about rows that a transaction elsewhere has locked. They
// need a [Locker]; that nothing waits shows in that they end.
func lockedScenarios() []scenario {
	return []scenario{
		{"a claim passes over it", lockedIsNotClaimed},
		{"a short claim says that it passed over it", lockedIsTold},
		{"but says so of nothing else", lockedIsToldOfNothingElse},
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

func lockedIsTold(s *scene) {
	ids := s.publishN("orders", 3)
	unlock := s.lock(ids[2])

	s.True(!s.claim(pending("orders", 2)).PassedOver) // it got all it asked for
	s.True(s.claim(pending("orders", 2)).PassedOver)

	unlock()
	b := s.claim(pending("orders", 2))
	s.Equal(idsOf(b.Messages), ids[2:])
	s.True(!b.PassedOver)

	ids = s.publishN("orders", 2)
	unlock = s.lock(ids[0])
	b = s.claim(pending("orders", 2))
	s.Equal(idsOf(b.Messages), ids[1:])
	s.True(b.PassedOver) // beside what it got
	unlock()
}

func lockedIsToldOfNothingElse(s *scene) {
	ids := s.publish(draft("orders", time.Hour), draft("mails", 0), draft("resting", 0), draft("leased", 0))
	leased := s.claimOne("leased")
	floor := s.publishedAt("late")
	ids = append(ids, s.publish(store.Draft{Queue: "late", At: floor.Add(-time.Minute)})...)
	s.pause("resting")
	unlock := s.lock(ids...)

	s.True(!s.claim(pending("orders", 2)).PassedOver) // which is not due, or of another queue
	s.True(!s.claim(pending("resting", 2)).PassedOver)
	s.True(!s.claim(pending("leased", 2)).PassedOver) // somebody has that
	s.True(!s.claim(expired("mails", 2, time.Minute)).PassedOver)
	late := pending("late", 2)
	s.True(s.claim(late).PassedOver)
	late.Since = floor
	s.True(!s.claim(late).PassedOver) // it did not ask for that
	unlock()
	s.Equal(s.settle(ack(leased)), []int64{leased.ID})
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
