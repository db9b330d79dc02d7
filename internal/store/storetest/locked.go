package storetest

import (
	"time"

	"github.com/google/uuid"

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
		{"settling passes over it and says so, also at the next try", lockedIsNotSettled},
		{"settling says of a stale lease that it is gone, locked or not", lockedAndStale},
		{"burying passes over it and says so", lockedIsNotBuried},
		{"returning passes over it", lockedIsNotReturned},
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

func lockedIsNotSettled(s *scene) {
	const n = 6
	s.publishN("orders", n)
	ms := s.claimUpTo("orders", n)
	fresh := s.publishN("orders", 1)
	unlock := s.lock(ms[0].ID, ms[1].ID, ms[2].ID)
	outcomes := []store.Outcome{
		ack(ms[0]), retry(ms[1], 0, 0), release(ms[2], 0),
		ack(ms[3]), retry(ms[4], time.Hour, 0), release(ms[5], time.Hour),
	}

	ex := s.exchange(outcomes, pending("orders", 10))
	s.Equal(sorted(ex.Settled), idsOf(ms[3:]))
	s.Equal(sorted(ex.Locked), idsOf(ms[:3]))
	s.Equal(idsOf(ex.Batches[0].Messages), fresh)

	outcomes = outcomes[:3]
	for i := range outcomes {
		outcomes[i].Locked = true
		s.Equal(s.row(ms[i].ID).Lease, ms[i].Lease) // as it was
	}
	ex = s.exchange(outcomes)
	s.Equal(len(ex.Settled), 0)
	s.Equal(sorted(ex.Locked), idsOf(ms[:3]))

	unlock()
	ex = s.exchange(outcomes)
	s.Equal(sorted(ex.Settled), idsOf(ms[:3]))
	s.Equal(len(ex.Locked), 0)
}

func lockedAndStale(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	unlock := s.lock(ms[0].ID, ms[1].ID)
	ms[0].Token = uuid.New()

	ex := s.exchange([]store.Outcome{ack(ms[0]), ack(ms[1])})
	s.Equal(len(ex.Settled), 0)
	s.Equal(ex.Locked, []int64{ms[1].ID})

	unlock()
}

func lockedIsNotBuried(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	unlock := s.lock(ms[0].ID)
	outcomes := []store.Outcome{bury(ms[0], "rejected", "a"), bury(ms[1], "rejected", "b")}

	moved, locked, err := s.store.Bury(s.ctx, outcomes)
	s.NoErr(err)
	s.Equal(moved, []int64{ms[1].ID})
	s.Equal(locked, []int64{ms[0].ID})
	s.Equal(len(s.deadLetters()), 1)

	unlock()
	outcomes[0].Locked = true
	s.Equal(s.bury(outcomes[0]), []int64{ms[0].ID})
	s.Equal(len(s.deadLetters()), 2)
}

func lockedIsNotReturned(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	unlock := s.lock(ms[0].ID)

	s.NoErr(s.store.Return(s.ctx, []string{"orders"}, []uuid.UUID{ms[0].Token}))
	s.True(s.row(ms[0].ID).held())
	s.True(!s.row(ms[1].ID).held())

	unlock()
}
