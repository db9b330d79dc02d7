package storetest

import (
	"context"
	"time"
)

// Pauser is a side door of a [Harness]: it pauses a queue and lets it go on, each
// committed. What it returns says whether that changed anything.
type Pauser interface {
	Pause(ctx context.Context, queue string) (bool, error)
	Resume(ctx context.Context, queue string) (bool, error)
}

func pausedScenarios() []scenario {
	return []scenario{
		{"a claim gets nothing, and goes on afterwards", pausedIsNotClaimed},
		{"nor does a claim of expired leases", pausedIsNotTakenOver},
		{"other queues go on", pausedAlone},
		{"what is claimed already is extended and settled", pausedIsSettled},
		{"a claim says when the next row is due, and not that one is", pausedNextDue},
		{"twice is once", pausedTwice},
	}
}

func (s *scene) pauser() Pauser {
	s.t.Helper()
	p, ok := s.h.(Pauser)
	s.True(ok) // the harness can pause
	return p
}

func (s *scene) pause(queue string) bool {
	s.t.Helper()
	changed, err := s.pauser().Pause(s.ctx, queue)
	s.NoErr(err)
	return changed
}

func (s *scene) resume(queue string) bool {
	s.t.Helper()
	changed, err := s.pauser().Resume(s.ctx, queue)
	s.NoErr(err)
	return changed
}

func pausedIsNotClaimed(s *scene) {
	s.pause("orders") // a queue of which nothing is known yet
	ids := s.publishN("orders", 3)
	s.Equal(len(s.claimUpTo("orders", 10)), 0)

	s.resume("orders")
	s.Equal(idsOf(s.claimUpTo("orders", 10)), ids)
}

func pausedIsNotTakenOver(s *scene) {
	ids := s.publishN("orders", 1)
	s.claimOne("orders")
	s.advance(2 * time.Hour)
	s.pause("orders")
	s.Equal(len(s.claim(expired("orders", 10, time.Hour)).Messages), 0)

	s.resume("orders")
	s.Equal(idsOf(s.claim(expired("orders", 10, time.Hour)).Messages), ids)
}

func pausedAlone(s *scene) {
	s.publishN("orders", 1)
	mails := s.publishN("mails", 1)
	s.pause("orders")
	s.Equal(idsOf(s.claimUpTo("mails", 10)), mails)
	s.Equal(len(s.claimUpTo("orders", 10)), 0)
}

func pausedIsSettled(s *scene) {
	ids := s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	s.pause("orders")
	s.Equal(s.extend(leasesOf(ms)...), ids)
	s.Equal(s.settle(ack(ms[0])), ids[:1])
	s.Equal(s.settle(release(ms[1], 0)), ids[1:])
	s.Equal(len(s.claimUpTo("orders", 10)), 0)
}

func pausedNextDue(s *scene) {
	s.publish(draft("orders", 0), draft("orders", time.Hour))
	s.pause("orders")
	b := s.claim(pending("orders", 10))
	s.Equal(len(b.Messages), 0)
	s.True(b.HasNext)
	s.about(b.NextDue, time.Hour)
}

func pausedTwice(s *scene) {
	s.Equal(s.resume("orders"), false)
	s.Equal(s.pause("orders"), true)
	s.Equal(s.pause("orders"), false)
	s.Equal(s.resume("orders"), true)
	s.Equal(s.resume("orders"), false)
}
