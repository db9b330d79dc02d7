package memory

// Pause makes claims of the queue come back empty, until [Store.Resume]. It
// returns false where the queue is paused already.
func (s *Store) Pause(queue string) bool { return s.pause(queue, true) }

// Resume undoes [Store.Pause], and tells the listeners. It returns false where the
// queue is not paused.
func (s *Store) Resume(queue string) bool {
	if !s.pause(queue, false) {
		return false
	}
	s.wake([]string{queue})
	return true
}

func (s *Store) pause(queue string, yes bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue(queue)
	changed := q.paused != yes
	q.paused = yes
	return changed
}
