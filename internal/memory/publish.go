package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// ErrHeaders comes where the headers of a draft are not JSON, which a jsonb
// column would not take. Nothing is published.
var ErrHeaders = errors.New("headers are not JSON")

// TimerExistsError comes where a draft has the timer id of a row that is
// still in its queue, or of another draft. Nothing is published.
type TimerExistsError struct {
	Queue, TimerID string
}

func (e *TimerExistsError) Error() string {
	return fmt.Sprintf("timer %q is live in queue %q", e.TimerID, e.Queue)
}

// Publish adds the drafts, all of them or none, and then tells the listeners.
// The ids come in the order of the drafts. The store keeps nothing of the
// drafts' memory. Headers can be any JSON text, as the column's can; empty
// ones are null.
func (s *Store) Publish(ctx context.Context, drafts ...store.Draft) ([]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	ids, err := func() ([]int64, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.insert(drafts)
	}()
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	s.wake(queuesOf(drafts))
	return ids, nil
}

// queuesOf names the queues that drafts go to, each once.
func queuesOf(drafts []store.Draft) (queues []string) {
	for _, d := range drafts {
		if !slices.Contains(queues, d.Queue) {
			queues = append(queues, d.Queue)
		}
	}
	return queues
}

// insert adds the rows. The caller holds the lock.
func (s *Store) insert(drafts []store.Draft) (ids []int64, err error) {
	for _, d := range drafts {
		if len(d.Headers) > 0 && !json.Valid(d.Headers) {
			return nil, fmt.Errorf("queue %q: %w", d.Queue, ErrHeaders)
		}
	}
	if err := s.checkTimers(drafts); err != nil {
		return nil, err
	}
	now := s.clock.now()
	for _, d := range drafts {
		s.lastID++
		r := &row{store.Claimed{
			Lease:     store.Lease{ID: s.lastID, Token: uuid.Nil},
			Queue:     d.Queue,
			Payload:   append([]byte{}, d.Payload...), // never null
			TimerID:   d.TimerID,
			CreatedAt: now,
			DueAt:     now.Add(d.Delay),
		}}
		if !d.At.IsZero() {
			r.DueAt = d.At
		}
		r.DueAt = instant(r.DueAt)
		if len(d.Headers) > 0 {
			r.Headers = slices.Clone(d.Headers)
		}
		q := s.queue(d.Queue)
		q.pending.insert(r.pendingKey())
		if r.TimerID != "" {
			q.timers[r.TimerID] = r.ID
		}
		s.rows[r.ID] = r
		ids = append(ids, r.ID)
	}
	return ids, nil
}

// checkTimers is the unique index over queue and timer id.
func (s *Store) checkTimers(drafts []store.Draft) error {
	type timer struct{ queue, id string }
	mine := make(map[timer]bool)
	for _, d := range drafts {
		if d.TimerID == "" {
			continue
		}
		t := timer{d.Queue, d.TimerID}
		live := mine[t]
		if q := s.queues[d.Queue]; q != nil && !live {
			_, live = q.timers[d.TimerID]
		}
		if live {
			return &TimerExistsError{Queue: d.Queue, TimerID: d.TimerID}
		}
		mine[t] = true
	}
	return nil
}
