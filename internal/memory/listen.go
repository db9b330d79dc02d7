package memory

import (
	"context"
	"fmt"
	"slices"
)

// listeners are the functions to call when a queue has news.
type listeners struct {
	next int
	fns  []listener
}

type listener struct {
	id int
	fn func(queue string)
}

// Listen has fn called with the name of each queue in which there is news:
// once per queue after each [Store.Publish] to it, whenever the message is
// due, after each [Store.Advance] that made rows of it due, and after each
// [Store.Tell]. It is a hint, as a notification is: rows that are retried, released
// or returned, and leases that expire, come without one.
//
// The call is made on the goroutine that brought the news, after its change
// took effect and with no lock held, so fn may call the store; it must not
// block. A call that has begun may still be under way when stop returns.
// Calling stop again does nothing.
func (s *Store) Listen(fn func(queue string)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners.next++
	id := s.listeners.next
	s.listeners.fns = append(s.listeners.fns, listener{id, fn})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners.fns = slices.DeleteFunc(s.listeners.fns, func(l listener) bool { return l.id == id })
	}
}

// Tell implements [store.Teller]. It fails only where ctx has ended.
func (s *Store) Tell(ctx context.Context, queues []string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("tell: %w", err)
	}
	s.wake(queues)
	return nil
}

// wake tells every listener of every queue. The lock must not be held.
func (s *Store) wake(queues []string) {
	if len(queues) == 0 {
		return
	}
	s.mu.Lock()
	fns := slices.Clone(s.listeners.fns)
	s.mu.Unlock()
	for _, queue := range queues {
		for _, l := range fns {
			l.fn(queue)
		}
	}
}
