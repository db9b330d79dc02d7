package memory

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Extend implements [store.Extender]. It fails only where ctx has ended.
func (s *Store) Extend(ctx context.Context, leases []store.Lease) ([]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("extend: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()
	var held []int64
	for _, l := range leases {
		r := s.rows[l.ID]
		if r == nil || !r.heldBy(l) {
			continue
		}
		if s.locks[l.ID] == nil { // else it is left as it is
			q := s.queue(r.Queue)
			s.unindex(q, r)
			r.ClaimedAt = now
			q.leased.insert(r.leaseKey())
		}
		held = append(held, l.ID)
	}
	return held, nil
}

// Return implements [store.Returner]. It fails only where ctx has ended. It
// walks the leases of the queues: few beside the rows, and it is rare.
func (s *Store) Return(ctx context.Context, queues []string, tokens []uuid.UUID) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("return: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*row
	for _, name := range queues {
		if q := s.queues[name]; q != nil {
			for k := range q.leased.from(math.MinInt64) {
				if r := s.rows[k.id]; slices.Contains(tokens, r.Token) && s.locks[r.ID] == nil {
					found = append(found, r)
				}
			}
		}
	}
	now := s.clock.now()
	for _, r := range found {
		r.Deliveries--
		s.unlease(s.queue(r.Queue), r, now)
	}
	return nil
}

// Look implements [store.Looker]. It fails only where ctx has ended.
func (s *Store) Look(ctx context.Context, queues []store.Watch) ([]store.Outlook, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.now()
	out := make([]store.Outlook, len(queues))
	for i, w := range queues {
		out[i].Queue = w.Queue
		q := s.queues[w.Queue]
		if q == nil {
			continue
		}
		out[i].NextDue, out[i].HasNext = q.nextDue(math.MinInt64, now)
		if oldest, ok := q.leased.first(math.MinInt64); ok && w.ExpiredAfter > 0 {
			out[i].Expired = oldest.at < now.Add(-w.ExpiredAfter).UnixMicro()
		}
	}
	return out, nil
}

// Abandon makes a lease as old as that, as where its worker died long ago.
func (s *Store) Abandon(id int64, age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rows[id]; r != nil && r.held() {
		q := s.queue(r.Queue)
		s.unindex(q, r)
		r.ClaimedAt = instant(s.clock.now().Add(-age))
		q.leased.insert(r.leaseKey())
	}
}
