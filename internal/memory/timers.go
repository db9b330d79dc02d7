package memory

import (
	"context"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Schedule adds a timer, unless one of its queue and id is there: then it changes
// nothing, and the id is that one's.
func (s *Store) Schedule(ctx context.Context, d store.Draft) (id int64, added bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("schedule: %w", err)
	}
	id, added, err = s.schedule(d)
	if added {
		s.wake([]string{d.Queue})
	}
	return id, added, err
}

func (s *Store) schedule(d store.Draft) (id int64, added bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, there := s.queue(d.Queue).timers[d.TimerID]; there {
		return id, false, nil
	}
	ids, err := s.insert([]store.Draft{d})
	if err != nil {
		return 0, false, fmt.Errorf("schedule: %w", err)
	}
	return ids[0], true, nil
}

// Cancel deletes a timer that waits. The id is the timer's, zero where there is
// none; one that is running stays, and done is false.
func (s *Store) Cancel(ctx context.Context, queue, timerID string) (id int64, done bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, fmt.Errorf("cancel: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue(queue)
	id, there := q.timers[timerID]
	if !there || s.rows[id].held() {
		return id, false, nil
	}
	s.remove(q, s.rows[id])
	return id, true, nil
}
