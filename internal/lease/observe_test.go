package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// spy notes what an engine tells, in words.
type spy struct {
	mu    sync.Mutex
	heard map[string]int
}

func (s *spy) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heard == nil {
		s.heard = map[string]int{}
	}
	s.heard[fmt.Sprintf(format, args...)]++
}

// times says how often something was told.
func (s *spy) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[what]
}

func (s *spy) Polled(took time.Duration, err error) { s.note("polled %v %v", took, err) }

func (s *spy) Fetched(c store.Claim, rows []store.Claimed, took time.Duration, err error) {
	s.note("fetched %s %d %v %v", c.Queue, len(rows), took, err)
}

func (s *spy) Settled(queue string, n int, took time.Duration, err error) {
	s.note("settled %s %d %v %v", queue, n, took, err)
}

func (s *spy) Lost(queue string, _ int64, settling bool) { s.note("lost %s %v", queue, settling) }

func (s *spy) Buried(queue string, graves []store.Outcome, took time.Duration, err error) {
	s.note("buried %s %d %s %v %v", queue, len(graves), graves[0].Reason, took, err)
}

func (s *spy) DrainTimedOut(cancelled, left int) { s.note("drain %d %d", cancelled, left) }
func (s *spy) Listening(yes bool)                { s.note("listening %v", yes) }

// observed is a bubble with a spy.
func observed(t *testing.T, test func(r *rig, s *spy)) {
	t.Helper()
	bubble(t, func(r *rig) {
		s := &spy{}
		r.cfg.Observer = s
		test(r, s)
	})
}

func TestObserver_HearsOfClaimsAndWrites(t *testing.T) {
	observed(t, func(r *rig, s *spy) {
		r.publish(drafts(3)...)
		r.fail(slow(time.Millisecond), nil)
		q := queueOf(ack)
		q.Concurrency = 3
		r.start(q)
		pass(time.Second)
		r.is.Equal(s.times("fetched q 3 1ms <nil>"), 1)
		r.is.Equal(s.times("settled q 3 1ms <nil>"), 1)
		r.is.True(s.times("fetched q 0 1ms <nil>") > 0)
		r.is.Equal(s.times("polled 1ms <nil>"), 1)
		r.is.Equal(s.times("listening true"), 1)
		r.end()
	})
}

func TestObserver_HearsOfFailuresOfTheStore(t *testing.T) {
	observed(t, func(r *rig, s *spy) {
		r.fail(failing(exchange), nil)
		r.publish(drafts(1)...)
		r.start(queueOf(ack))
		r.is.True(s.times("fetched q 0 0s the store is broken") > 0)
		r.fail(nil, nil)
		pass(time.Minute)
		r.is.Equal(s.times("settled q 1 0s <nil>"), 1)

		r.fail(failing(look), nil)
		pass(r.cfg.Poll)
		r.is.True(s.times("polled 0s the store is broken") > 0)
		r.fail(nil, nil)
		pass(time.Minute)

		r.fail(func(_ context.Context, c call) error {
			if len(c.outcomes) > 0 {
				return errStore
			}
			return nil
		}, nil)
		r.publish(drafts(1)...)
		r.is.True(s.times("settled q 1 0s the store is broken") > 0)
		r.fail(nil, nil)
		r.end()
	})
}

func TestObserver_HearsOfEachLostLeaseOnce(t *testing.T) {
	t.Run("while it is handled, and while it waits", func(t *testing.T) {
		observed(t, func(r *rig, s *spy) {
			q := queueOf(patient(time.Hour, func(error) {}))
			q.Ahead = 1
			r.publish(drafts(2)...)
			r.start(q)
			pass(time.Second)
			r.steal(2)
			pass(q.Lease)
			r.is.Equal(s.times("lost q false"), 2)
			r.end()
			r.is.Equal(s.times("lost q true"), 0)
		})
	})
	t.Run("when it ran out before its handler began", func(t *testing.T) {
		observed(t, func(r *rig, s *spy) {
			q := queueOf(ack)
			q.Lease = time.Second
			r.fail(nil, func(c call) error {
				if c.op == exchange {
					time.Sleep(2 * q.Lease) // the answer is late
				}
				return nil
			})
			r.publish(drafts(1)...)
			r.start(q)
			r.fail(nil, nil)
			pass(5 * q.Lease)
			r.is.Equal(s.times("lost q false"), 1)
			pass(time.Minute)
			r.end()
		})
	})
	t.Run("when its outcome is written", func(t *testing.T) {
		observed(t, func(r *rig, s *spy) {
			r.publish(drafts(1)...)
			r.start(queueOf(patient(5*time.Second, func(error) {})))
			pass(time.Second)
			r.steal(1)
			pass(time.Minute)
			r.is.Equal(s.times("lost q true"), 1)
			r.is.Equal(s.times("lost q false"), 0)
			r.end()
		})
	})
	t.Run("when its dead letter is written", func(t *testing.T) {
		observed(t, func(r *rig, s *spy) {
			r.publish(graves(1, "bad")...)
			r.start(queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
				time.Sleep(time.Second)
				r.steal(1)
				return store.Outcome{Kind: store.Bury, Reason: "because"}
			})))
			pass(10 * time.Second)
			r.is.Equal(s.times("lost q true"), 1)
			r.is.Equal(s.times("buried q 1 because 0s <nil>"), 0)
			r.end()
		})
	})
}

func TestObserver_HearsOfDeadLetters(t *testing.T) {
	observed(t, func(r *rig, s *spy) {
		r.fail(failing(bury), nil)
		r.publish(graves(1, "bad")...)
		r.start(queueOf(sorting))
		r.is.True(s.times("buried q 1 because 0s the store is broken") > 0)
		r.fail(nil, nil)
		pass(time.Minute)
		r.is.Equal(s.times("buried q 1 because 0s <nil>"), 1)
		r.end()
	})
}

func TestObserver_HearsOfADrainThatTimesOut(t *testing.T) {
	observed(t, func(r *rig, s *spy) {
		release := make(chan struct{})
		wedged := one(func(context.Context, store.Claimed) store.Outcome {
			<-release
			return store.Outcome{Kind: store.Ack}
		})
		q := queueOf(wedged)
		q.Concurrency = 2
		obliging := queueOf(patient(time.Hour, func(error) {}))
		obliging.Name = "obliging"
		r.publish(append(drafts(2), store.Draft{Queue: "obliging"})...)
		r.start(q, obliging)
		_, err := r.stop()
		var unfinished *UnfinishedError
		r.is.True(errors.As(err, &unfinished))
		r.is.Equal(s.times("drain 3 2"), 1)
		close(release)
	})
}

func TestObserver_HearsNothingOfAnIdleDrainWithoutGrace(t *testing.T) {
	for n := range 10 { // what ends last is up to the scheduler
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			observed(t, func(r *rig, s *spy) {
				r.cfg.Grace = 0
				q := &heldQueue{}
				r.startHeld(q, q.config(), queueOf(ack))
				pass(time.Second)
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.Equal(took, time.Duration(0))
				r.is.Equal(s.times("drain 0 0"), 0)
				r.is.Equal(r.logs.count(slog.LevelWarn), 0)
			})
		})
	}
}
