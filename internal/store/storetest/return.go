package storetest

import (
	"time"

	"github.com/google/uuid"
)

func returnScenarios() []scenario {
	return []scenario{
		{"nothing to return is fine", returnNothing},
		{"rows are released as if they had not been claimed", returnReleases},
		{"only rows with one of the tokens are released", returnByToken},
		{"only rows of the queues are released", returnOnlyQueues},
		{"a token that holds nothing is fine", returnUnknown},
	}
}

func returnNothing(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")
	s.NoErr(s.store.Return(s.ctx, nil, nil))
	s.NoErr(s.store.Return(s.ctx, []string{"orders"}, nil))
	s.NoErr(s.store.Return(s.ctx, nil, []uuid.UUID{m.Token}))
	s.Equal(s.row(m.ID).Token, m.Token) // no tokens, or no queues: no rows
}

func returnReleases(s *scene) {
	s.publishN("orders", 2)
	for _, m := range s.claimUpTo("orders", 2) {
		s.settle(retry(m, 0, 5*time.Minute))
	}
	s.advance(time.Hour)
	claim := pending("orders", 2)
	ms := s.claim(claim).Messages
	s.Equal(len(ms), 2)
	before := s.rows()

	s.NoErr(s.store.Return(s.ctx, []string{"orders"}, []uuid.UUID{claim.Token}))

	for i, row := range s.rows() {
		s.True(!row.held())
		s.Equal(row.Deliveries, int64(1)) // the retry's, and not the claim's
		s.Equal(row.Attempts, int64(1))
		s.True(row.FirstAttemptAt.Equal(before[i].FirstAttemptAt))
		s.True(row.LastAttemptAt.Equal(before[i].LastAttemptAt))
		s.dueIn(row, 0)
	}
	s.Equal(s.settle(ack(ms[0])), []int64{}) // the lease is gone
	s.Equal(len(s.claimUpTo("orders", 10)), 2)
}

func returnByToken(s *scene) {
	s.publishN("orders", 4)
	first, second, third := s.claimOne("orders"), s.claimOne("orders"), s.claimOne("orders")

	s.NoErr(s.store.Return(s.ctx, []string{"orders"}, []uuid.UUID{first.Token, third.Token}))

	s.True(!s.row(first.ID).held())
	s.Equal(s.row(second.ID).Token, second.Token)
	s.True(!s.row(third.ID).held())
	s.Equal(len(s.claimUpTo("orders", 10)), 3) // two that came back, and one that nobody had
}

func returnOnlyQueues(s *scene) {
	s.publish(draft("orders", 0), draft("invoices", 0), draft("letters", 0))
	token := uuid.New()
	for _, q := range []string{"orders", "invoices", "letters"} {
		c := pending(q, 1)
		c.Token = token
		s.Equal(len(s.claim(c).Messages), 1)
	}

	s.NoErr(s.store.Return(s.ctx, []string{"orders", "letters"}, []uuid.UUID{token}))

	for _, row := range s.rows() {
		s.Equal(row.held(), row.Queue == "invoices")
	}
}

func returnUnknown(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")

	s.NoErr(s.store.Return(s.ctx, []string{"orders", "nobody's"}, []uuid.UUID{uuid.New()}))

	s.Equal(s.row(m.ID).Token, m.Token)
}
