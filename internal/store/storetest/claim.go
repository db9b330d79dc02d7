package storetest

import (
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func claimScenarios() []scenario {
	return []scenario{
		{"rows come in the order they became due", claimsInDueOrder},
		{"rows that became due together come by id", claimsTiesByID},
		{"the limit takes the rows that became due first", claimsUpToLimit},
		{"rows of other queues stay", claimsOnlyItsQueue},
		{"a row that is not yet due stays until it is", claimsOnlyDue},
		{"the row gets the token and counts the delivery", claimWritesLease},
		{"a claimed row is not claimed again", claimsOnce},
		{"the floor leaves out rows that became due before it", claimsFromFloor},
		{"a backlog is claimed in batches without repetition", claimsBacklog},
	}
}

func claimsInDueOrder(s *scene) {
	ids := s.publish(
		draft("orders", 3*time.Minute),
		draft("orders", 1*time.Minute),
		draft("orders", 2*time.Minute),
	)
	s.advance(time.Hour)

	got := s.claimUpTo("orders", 10)

	s.Equal(idsOf(got), []int64{ids[1], ids[2], ids[0]})
}

func claimsTiesByID(s *scene) {
	due := s.publishedAt("orders").Add(time.Minute)
	var ids []int64
	for range 3 {
		ids = append(ids, s.publish(store.Draft{Queue: "orders", At: due}, store.Draft{Queue: "orders", At: due})...)
	}
	s.advance(time.Hour)

	got := s.claimUpTo("orders", 10)

	s.Equal(idsOf(got), sorted(ids))
	for _, m := range got {
		s.True(m.DueAt.Equal(got[0].DueAt)) // all became due together
	}
}

// publishedAt is an instant of the store's clock: that of a message which it
// publishes, claims and acks.
func (s *scene) publishedAt(queue string) time.Time {
	s.t.Helper()
	s.Helper()
	s.publish(draft(queue, 0))
	m := s.claimOne(queue)
	s.Equal(s.settle(ack(m)), []int64{m.ID})
	return m.DueAt
}

func claimsUpToLimit(s *scene) {
	var drafts []store.Draft
	for i := range 5 {
		drafts = append(drafts, draft("orders", time.Duration(5-i)*time.Minute))
	}
	ids := s.publish(drafts...)
	s.advance(time.Hour)

	s.Equal(idsOf(s.claimUpTo("orders", 2)), []int64{ids[4], ids[3]})
	s.Equal(idsOf(s.claimUpTo("orders", 2)), []int64{ids[2], ids[1]})
	s.Equal(idsOf(s.claimUpTo("orders", 2)), []int64{ids[0]})
	s.Equal(len(s.claimUpTo("orders", 2)), 0) // nothing is left
}

func claimsOnlyItsQueue(s *scene) {
	ids := s.publish(
		draft("orders", 0),
		draft("orders.late", 0),
		draft("Orders", 0),
		draft("", 0),
	)

	got := s.claimUpTo("orders", 10)

	s.Equal(idsOf(got), ids[:1])
	s.Equal(got[0].Queue, "orders")
	for _, id := range ids[1:] {
		s.True(!s.row(id).held()) // untouched
	}
}

func claimsOnlyDue(s *scene) {
	ids := s.publish(draft("orders", time.Hour))
	s.Equal(len(s.claimUpTo("orders", 10)), 0) // not yet
	s.True(!s.row(ids[0]).held())

	s.advance(30 * time.Minute)
	s.Equal(len(s.claimUpTo("orders", 10)), 0) // still not

	s.advance(31 * time.Minute)
	s.Equal(idsOf(s.claimUpTo("orders", 10)), ids)
}

func claimWritesLease(s *scene) {
	ids := s.publishN("orders", 3)
	s.advance(time.Minute)
	claim := pending("orders", 10)

	got := s.claim(claim).Messages

	s.Equal(sorted(idsOf(got)), ids)
	for _, m := range got {
		s.Equal(m.Token, claim.Token)
		s.Equal(m.Deliveries, int64(1))
		s.Equal(m.Attempts, int64(0))
		s.True(m.FirstAttemptAt.IsZero())
		s.True(m.LastAttemptAt.IsZero())
		s.about(m.ClaimedAt.Sub(m.DueAt), time.Minute)

		row := s.row(m.ID)
		s.Equal(row.Token, claim.Token)
		s.Equal(row.Deliveries, int64(1))
		s.Equal(row.Attempts, int64(0))
		s.True(row.ClaimedAt.Equal(m.ClaimedAt))
		s.True(row.DueAt.Equal(m.DueAt)) // a claim leaves the due time
		s.True(row.CreatedAt.Equal(m.CreatedAt))
	}
}

func claimsOnce(s *scene) {
	ids := s.publishN("orders", 1)
	first := s.claimOne("orders")

	s.Equal(len(s.claimUpTo("orders", 10)), 0) // it is held
	s.advance(24 * time.Hour)
	s.Equal(len(s.claimUpTo("orders", 10)), 0) // however old the lease is

	row := s.row(ids[0])
	s.Equal(row.Token, first.Token)
	s.Equal(row.Deliveries, int64(1))
}

func claimsFromFloor(s *scene) {
	s.publish(draft("orders", 1*time.Minute), draft("orders", 2*time.Minute))
	s.advance(time.Hour)
	seen := s.claimUpTo("orders", 2)
	s.Equal(len(seen), 2)
	floor := seen[1].DueAt

	// The rows that a claimer with a floor cannot see: their due time is the
	// producer's, and the commit came later.
	late := s.publish(
		store.Draft{Queue: "orders", At: floor.Add(-time.Microsecond)},
		store.Draft{Queue: "orders", At: floor},
		store.Draft{Queue: "orders", At: floor.Add(time.Minute)},
	)
	claim := pending("orders", 10)
	claim.Since = floor

	s.Equal(idsOf(s.claim(claim).Messages), late[1:]) // the floor itself is in
	s.Equal(idsOf(s.claimUpTo("orders", 10)), late[:1])
}

func claimsBacklog(s *scene) {
	ids := s.publishN("orders", 1000)

	var got []int64
	for len(got) < len(ids) {
		batch := s.claimUpTo("orders", 300)
		s.True(len(batch) > 0) // there is more
		s.True(slices.IsSorted(idsOf(batch)))
		got = append(got, idsOf(batch)...)
	}

	s.Equal(sorted(got), sorted(ids))
}
