package lease

import (
	"sync"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Health is how an engine fares.
type Health struct {
	Listening bool // notifications are coming in
	Draining  bool
	Queues    []QueueHealth // in the order of the configuration
}

// QueueHealth is how one queue fares, as the engine's own round trips told.
type QueueHealth struct {
	Name string
	// Seen is when the store last answered a claim or a look; zero: never.
	Seen time.Time
	// Lag is how late the oldest due message was then; zero: none was due.
	Lag time.Duration
	// Failures counts the calls of the store that have failed since one was
	// answered, and Err is the last of them; nil where there is none.
	Failures int
	Err      error
}

// Health may be called at any time, by anybody.
func (e *Engine) Health() Health {
	h := Health{Listening: e.listening.Load(), Draining: e.stopping.Load()}
	for _, q := range e.cfg.Queues {
		var v *vitals
		if held := e.held[q.Name]; held != nil {
			v = &held.vitals
		} else {
			v = &e.byName[q.Name].vitals
		}
		h.Queues = append(h.Queues, v.read(q.Name))
	}
	return h
}

// vitals are written once a round trip, which a lock does not slow down.
type vitals struct {
	mu  sync.Mutex
	now QueueHealth
}

// seen takes in an answer, which ends a row of failures.
func (v *vitals) seen(at time.Time, lag time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = QueueHealth{Seen: at, Lag: max(0, lag)}
}

// well ends a row of failures, where the answer was about something else.
func (v *vitals) well() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Failures, v.now.Err = 0, nil
}

func (v *vitals) failed(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Failures++
	v.now.Err = err
}

func (v *vitals) read(name string) QueueHealth {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now
	now.Name = name
	return now
}

// Lateness is how late the oldest of claimed messages was, by the store's clock.
func Lateness(messages []store.Claimed) time.Duration {
	if len(messages) == 0 || messages[0].DueAt.IsZero() { // due at no instant: since ever
		return 0
	}
	return messages[0].ClaimedAt.Sub(messages[0].DueAt)
}
