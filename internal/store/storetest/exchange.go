package storetest

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

func exchangeScenarios() []scenario {
	return []scenario{
		{"nothing to write and nothing to claim is fine", exchangeOfNothing},
		{"outcomes are written before the claims are made", exchangeWritesFirst},
		{"outcomes of one queue and claims of others go together", exchangeAcrossQueues},
		{"claims are answered in their order", exchangeAnswersInOrder},
		{"two claims of a queue never share a row", exchangeSharesNoRow},
		{"pending rows and expired leases of a queue go together", exchangePendingAndExpired},
		{"a thousand outcomes of every kind go together", exchangeOfThousand},
		{"a repeated exchange settles nothing twice", exchangeRepeated},
		{"a cancelled context is an error, and nothing happens", exchangeCancelled},
	}
}

func exchangeOfNothing(s *scene) {
	s.publishN("orders", 1)

	ex := s.exchange(nil)
	s.Equal(len(ex.Settled), 0)
	s.Equal(len(ex.Batches), 0)

	ex, err := s.store.Exchange(s.ctx, []store.Outcome{}, []store.Claim{})
	s.NoErr(err)
	s.Equal(len(ex.Settled), 0)
	s.Equal(len(ex.Batches), 0)
	s.Equal(len(s.rows()), 1)
}

func exchangeWritesFirst(s *scene) {
	s.publishN("orders", 4)
	ms := s.claimUpTo("orders", 4)
	s.Equal(len(ms), 4)
	claim := pending("orders", 10)

	ex := s.exchange([]store.Outcome{
		release(ms[0], 0), retry(ms[1], 0, time.Second), ack(ms[2]), release(ms[3], time.Hour),
	}, claim)

	s.Equal(sorted(ex.Settled), sorted(idsOf(ms)))
	batch := ex.Batches[0]
	s.Equal(idsOf(batch.Messages), sorted(idsOf(ms[:2]))) // both are due again by now
	s.True(batch.HasNext)
	s.about(batch.NextDue, time.Hour) // which is the one with a delay
	for _, m := range batch.Messages {
		s.Equal(m.Token, claim.Token)
		s.Equal(s.row(m.ID).Token, claim.Token)
	}
}

func exchangeAcrossQueues(s *scene) {
	ids := s.publish(draft("orders", 0), draft("invoices", 0))
	m := s.claimOne("orders")

	ex := s.exchange([]store.Outcome{ack(m)}, pending("invoices", 10), pending("orders", 10))

	s.Equal(ex.Settled, ids[:1])
	s.Equal(idsOf(ex.Batches[0].Messages), ids[1:])
	s.Equal(len(ex.Batches[1].Messages), 0)
}

func exchangeAnswersInOrder(s *scene) {
	queues := []string{"e", "b", "nobody's", "d", "a", "c"}
	want := make(map[string]int64)
	for _, q := range []string{"a", "b", "c", "d", "e"} {
		want[q] = s.publish(draft(q, 0), draft(q, time.Hour))[0]
	}
	var claims []store.Claim
	for _, q := range queues {
		claims = append(claims, pending(q, 10))
	}

	ex := s.exchange(nil, claims...)

	for i, q := range queues {
		batch := ex.Batches[i]
		if q == "nobody's" {
			s.Equal(len(batch.Messages), 0)
			s.True(!batch.HasNext)
			continue
		}
		s.Equal(idsOf(batch.Messages), []int64{want[q]})
		s.Equal(batch.Messages[0].Queue, q)
		s.Equal(batch.Messages[0].Token, claims[i].Token)
		s.True(batch.HasNext)
		s.about(batch.NextDue, time.Hour)
	}
}

func exchangeSharesNoRow(s *scene) {
	ids := s.publishN("orders", 5)
	first, second, third := pending("orders", 2), pending("orders", 2), pending("orders", 2)

	ex := s.exchange(nil, first, second, third)

	var got []int64
	for i, c := range []store.Claim{first, second, third} {
		for _, m := range ex.Batches[i].Messages {
			s.Equal(m.Token, c.Token)
			s.Equal(m.Deliveries, int64(1))
			got = append(got, m.ID)
		}
	}
	s.Equal(len(ex.Batches[0].Messages), 2)
	s.Equal(len(ex.Batches[1].Messages), 2)
	s.Equal(sorted(got), sorted(ids))
}

func exchangePendingAndExpired(s *scene) {
	s.publishN("orders", 1)
	old := s.claimOne("orders")
	s.advance(2 * time.Hour)
	fresh := s.publishN("orders", 1)

	ex := s.exchange(nil, pending("orders", 10), expired("orders", 10, time.Hour))

	s.Equal(idsOf(ex.Batches[0].Messages), fresh)
	s.Equal(idsOf(ex.Batches[1].Messages), []int64{old.ID})
}

func exchangeOfThousand(s *scene) {
	s.publishN("orders", 1000)
	ms := s.claimUpTo("orders", 1000)
	s.Equal(len(ms), 1000)
	kind := make(map[int64]int)
	var outcomes []store.Outcome
	var settled []int64
	for i, m := range ms {
		kind[m.ID] = i % 4
		switch i % 4 {
		case 0:
			outcomes = append(outcomes, ack(m))
		case 1:
			outcomes = append(outcomes, retry(m, time.Hour, time.Minute))
		case 2:
			outcomes = append(outcomes, release(m, 2*time.Hour))
		case 3:
			late := m
			late.Token = uuid.New()
			outcomes = append(outcomes, ack(late))
			continue
		}
		settled = append(settled, m.ID)
	}

	s.Equal(s.settle(outcomes...), sorted(settled))

	rows := s.rows()
	s.Equal(len(rows), 750)
	for _, row := range rows {
		switch kind[row.ID] {
		case 0:
			s.Fail() // an acked row is gone
		case 1:
			s.True(!row.held())
			s.Equal(row.Attempts, int64(1))
			s.Equal(row.Deliveries, int64(1))
			s.dueIn(row, time.Hour)
			s.about(row.Now.Sub(row.LastAttemptAt), time.Minute)
		case 2:
			s.True(!row.held())
			s.Equal(row.Attempts, int64(0))
			s.Equal(row.Deliveries, int64(0))
			s.dueIn(row, 2*time.Hour)
		case 3:
			s.True(row.held())
			s.Equal(row.Token, ms[0].Token)
		}
	}
}

func exchangeRepeated(s *scene) {
	s.publishN("orders", 3)
	ms := s.claimUpTo("orders", 3)
	outcomes := []store.Outcome{ack(ms[0]), retry(ms[1], time.Hour, 0), release(ms[2], time.Hour)}
	s.Equal(s.settle(outcomes...), sorted(idsOf(ms)))
	before := s.rows()

	s.Equal(s.settle(outcomes...), []int64{}) // as after an answer that was lost

	s.unchanged(before)
}

func exchangeCancelled(s *scene) {
	s.publishN("orders", 2)
	m := s.claimOne("orders")
	before := s.rows()
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()

	_, err := s.store.Exchange(ctx, []store.Outcome{ack(m)}, []store.Claim{pending("orders", 10)})

	s.True(err != nil)
	s.unchanged(before)
}
