package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

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

// checkHeaders is what the column's type does.
func checkHeaders(drafts []store.Draft) error {
	for _, d := range drafts {
		if len(d.Headers) > 0 && !json.Valid(d.Headers) {
			return fmt.Errorf("queue %q: %w", d.Queue, ErrHeaders)
		}
	}
	return nil
}

// insert adds the rows. The caller holds the lock.
func (s *Store) insert(drafts []store.Draft) (ids []int64, err error) {
	if err := checkHeaders(drafts); err != nil {
		return nil, err
	}
	if err := s.checkTimers(drafts); err != nil {
		return nil, err
	}
	now := s.clock.now()
	for i := range drafts {
		s.lastID++
		s.put(newRow(s.lastID, &drafts[i], now, dueAt(&drafts[i], now)))
		ids = append(ids, s.lastID)
	}
	return ids, nil
}

// newRow is a row that nobody holds. It shares no memory with the draft.
func newRow(id int64, d *store.Draft, now, due time.Time) *row {
	r := &row{store.Claimed{
		Lease:     store.Lease{ID: id, Token: uuid.Nil},
		Queue:     d.Queue,
		Payload:   append([]byte{}, d.Payload...), // never null
		TimerID:   d.TimerID,
		CreatedAt: now,
		DueAt:     due,
	}}
	if len(d.Headers) > 0 {
		r.Headers = slices.Clone(d.Headers)
	}
	return r
}

// dueAt is when a draft says it is due.
func dueAt(d *store.Draft, now time.Time) time.Time {
	if !d.At.IsZero() {
		return instant(d.At)
	}
	return instant(now.Add(d.Delay))
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

// Insert writes a row as it is but for its id, as a program that knows only the
// table would, and returns the id.
func (s *Store) Insert(c store.Claimed) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	c.ID = s.lastID
	c.CreatedAt, c.DueAt = instant(c.CreatedAt), instant(c.DueAt)
	s.put(&row{c})
	return c.ID
}
