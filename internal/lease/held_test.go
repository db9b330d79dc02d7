package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// heldQueue is a queue whose messages are handled where they are.
type heldQueue struct {
	mu      sync.Mutex
	due     []time.Time
	expired int // rows with an expired lease
	err     error
	takes   time.Duration                       // a call with messages
	random  func() (looks, takes time.Duration) // where not nil, of each call
	looks   time.Duration                       // until it knows of them
	letGo   bool                                // the next call settles nothing
	locked  int                                 // rows that are due and somebody else has locked

	calls, running, most int
	since                []time.Time // of calls for pending rows
	handled              []time.Time
	order                []bool // of calls that found something: whether for expired leases
}

func (q *heldQueue) add(due ...time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, due...)
}

// now is n messages due now.
func (q *heldQueue) now(n int) {
	for range n {
		q.add(time.Now())
	}
}

// done is when messages were handled, and made how many calls there were.
func (q *heldQueue) done() []time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.handled)
}

// expire is n messages more whose lease is over.
func (q *heldQueue) expire(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expired += n
}

// left is how many messages nobody has taken.
func (q *heldQueue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.due)
}

// begun is where calls for pending rows began.
func (q *heldQueue) begun() []time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.since)
}

func (q *heldQueue) made() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.calls
}

func (q *heldQueue) hold(ctx context.Context, c store.Claim, found func(Held)) (Held, error) {
	q.mu.Lock()
	looks, takes := q.looks, time.Duration(-1)
	if q.random != nil {
		looks, takes = q.random()
	}
	q.mu.Unlock()
	if err := pause(ctx, looks); err != nil {
		return Held{}, err
	}
	n, held, err := q.take(c)
	if held.Messages > 0 {
		found(held)
	}
	if n == 0 || err != nil {
		return held, err
	}
	q.mu.Lock()
	q.running++
	q.most = max(q.most, q.running)
	if takes < 0 {
		takes = q.takes // as it is by now
	}
	q.mu.Unlock()
	err = pause(ctx, takes)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	if err != nil {
		return Held{}, err
	}
	for range n {
		q.handled = append(q.handled, time.Now())
	}
	return held, nil
}

func (q *heldQueue) take(c store.Claim) (n int, held Held, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calls++
	if q.err != nil {
		return 0, Held{}, q.err
	}
	if c.ExpiredAfter > 0 {
		n = min(c.Limit, q.expired)
		q.expired -= n
	} else {
		q.since = append(q.since, c.Since)
		var rest []time.Time
		for _, at := range q.due {
			wait := time.Until(at)
			switch {
			case at.Before(c.Since): // below the floor
			case wait <= 0 && n < c.Limit:
				n++
				held.Newest = at
				if !q.letGo {
					continue
				}
			case wait > 0 && (!held.HasNext || wait < held.NextDue):
				held.HasNext, held.NextDue = true, wait
			}
			rest = append(rest, at)
		}
		q.due = rest
	}
	if n > 0 {
		q.order = append(q.order, c.ExpiredAfter > 0)
	}
	held.More, held.Messages, held.Looked = n == c.Limit, n, q.looks
	held.PassedOver = n < c.Limit && q.locked > 0 && c.ExpiredAfter == 0
	if n > 0 && q.letGo {
		q.letGo, held.More, held.LetGo = false, true, true
		return 0, held, nil
	}
	return n, held, nil
}

// heldStore is the rig's store with what is to be seen of a heldQueue.
type heldStore struct {
	store.Store
	q *heldQueue
}

func (s heldStore) Look(ctx context.Context, queues []store.Watch) ([]store.Outlook, error) {
	seen, err := s.Store.Look(ctx, queues)
	if err != nil {
		return nil, err
	}
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	for i := range seen {
		if seen[i].Queue != "held" {
			continue
		}
		seen[i].Expired = s.q.expired > 0
		if s.q.locked > 0 {
			seen[i].HasNext, seen[i].NextDue = true, 0
		}
		for _, at := range s.q.due {
			if wait := time.Until(at); !seen[i].HasNext || wait < seen[i].NextDue {
				seen[i].HasNext, seen[i].NextDue = true, wait
			}
		}
	}
	return seen, nil
}

// startHeld starts an engine that serves a heldQueue, and perhaps others.
func (r *rig) startHeld(q *heldQueue, queues ...Queue) {
	r.cfg.Store = heldStore{r.faulty, q}
	r.start(queues...)
}

func (q *heldQueue) config() Queue {
	return Queue{Name: "held", Concurrency: 4, Batch: 10, Lease: time.Minute, Hold: q.hold}
}

func TestHold_HandlesAllWithinItsConcurrency(t *testing.T) {
	bubble(t, func(r *rig) {
		q := &heldQueue{takes: time.Second}
		q.now(95)
		r.startHeld(q, q.config())
		pass(2500 * time.Millisecond)
		r.is.Equal(len(q.done()), 80)
		pass(time.Second)
		r.is.Equal(len(q.done()), 95)
		q.now(25) // one call: the one that is woken wakes others
		r.engine.Wake("held")
		pass(time.Second)
		r.is.Equal(len(q.done()), 120)
		r.end()
		r.is.Equal(q.most, 4)
	})
}

func TestHold_SleepsUntilADueTimeAndIsQuietWhenIdle(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		q := &heldQueue{}
		due := time.Now().Add(time.Minute)
		q.add(due)
		r.startHeld(q, q.config())
		pass(2 * time.Minute)
		r.is.Equal(q.done(), []time.Time{due})
		before := q.made()
		r.forget()
		pass(10 * time.Hour)
		r.is.Equal(q.made(), before)
		r.is.Equal(len(r.made(look)), 10) // one a poll, for all goroutines
		r.end()
	})
}

// lock and unlock are somebody else's transaction on n due rows, which is rolled
// back: nobody is told.
func (q *heldQueue) lock(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.locked += n
}

func (q *heldQueue) unlock() {
	q.mu.Lock()
	n := q.locked
	q.locked = 0
	q.mu.Unlock()
	q.now(n)
}

func TestHold_LooksAgainForWhatItPassedOver(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		q := &heldQueue{}
		q.lock(1)
		r.startHeld(q, q.config())
		pass(20 * time.Millisecond) // after 5 ms, and 10 more
		q.unlock()
		pass(20 * time.Millisecond)
		r.is.Equal(len(q.done()), 1)

		// A lock that lasts costs one call a second, whichever goroutine it is.
		q.lock(1)
		r.engine.Wake("held")
		pass(time.Minute)
		before := q.made()
		pass(time.Minute)
		r.is.True(q.made()-before <= 60)
		q.unlock()
		pass(time.Second)
		r.is.Equal(len(q.done()), 2)

		// Then it is quick again, and quiet when there is nothing.
		q.lock(1)
		r.engine.Wake("held")
		pass(20 * time.Millisecond)
		q.unlock()
		pass(20 * time.Millisecond)
		r.is.Equal(len(q.done()), 3)
		before = q.made()
		pass(30 * time.Minute)
		r.is.True(q.made()-before <= 2*4) // two for each goroutine, for they may poll once
		r.end()
	})
}

// The goroutine that passed something over can have other work when the time comes
// to look again: then another does it.
func TestHold_LooksAgainWhileOneHandles(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		q := &heldQueue{takes: 10 * time.Minute}
		q.lock(1)
		c := q.config()
		c.Concurrency = 2
		r.startHeld(q, c)
		pass(10 * time.Second)
		q.now(1)
		r.engine.Wake("held")
		pass(10 * time.Second)
		r.is.Equal(q.most, 1)
		q.unlock()
		pass(time.Second)
		r.is.Equal(q.most, 2)
		pass(20 * time.Minute)
		r.is.Equal(len(q.done()), 2)
		r.end()
	})
}

func TestHold_FindsAtAPollWhatNobodyTold(t *testing.T) {
	for _, tt := range []struct {
		name string
		come func(*heldQueue)
	}{
		{"messages", func(q *heldQueue) { q.now(35) }},
		{"expired leases", func(q *heldQueue) { q.expire(35) }},
	} {
		for _, looks := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, ", a look succeeds: ", looks), func(t *testing.T) {
				bubble(t, func(r *rig) {
					q := &heldQueue{}
					r.startHeld(q, q.config())
					pass(r.cfg.Poll / 2)
					tt.come(q)
					if !looks {
						r.fail(failing(look), nil)
					}
					pass(r.cfg.Poll)
					r.is.Equal(len(q.done()), 35)
					r.end()
				})
			})
		}
	}
}

// While one handler runs, a goroutine that is free finds what comes.
func TestHold_FindsWhatComesWhileAHandlerRuns(t *testing.T) {
	const slow = 8 * time.Second
	begin := func(r *rig) (*heldQueue, func()) {
		b := &bed{asleep: map[string]bool{}}
		r.cfg.Poll, r.cfg.Sleeper = time.Hour, b
		q := &heldQueue{looks: time.Millisecond}
		c := q.config()
		c.Concurrency = 2
		r.startHeld(q, c)
		pass(time.Second) // it is asleep
		return q, func() {
			q.now(1)
			if b.sleeps(c.Name) {
				r.engine.Wake(c.Name)
			}
		}
	}
	handleSlowly := func(q *heldQueue, d time.Duration) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.takes = d
	}
	t.Run("without a notification, while messages keep coming", func(t *testing.T) {
		bubble(t, func(r *rig) {
			q, publish := begin(r)
			for range 400 {
				publish()
				pass(time.Millisecond)
			}
			pass(10 * time.Millisecond)
			r.is.Equal(len(q.done()), 400)
			handleSlowly(q, slow)
			publish()
			pass(20 * time.Millisecond)
			handleSlowly(q, 0)
			publish()
			pass(attentivePause + q.looks)
			r.is.Equal(len(q.done()), 401)
			pass(slow)
			r.is.Equal(len(q.done()), 402)
			r.end()
		})
	})
	t.Run("when it becomes due", func(t *testing.T) {
		bubble(t, func(r *rig) {
			q, publish := begin(r)
			q.add(time.Now().Add(time.Second)) // one notification for both
			handleSlowly(q, slow)
			publish()
			pass(500 * time.Millisecond)
			handleSlowly(q, 0)
			pass(500*time.Millisecond + q.looks)
			r.is.Equal(len(q.done()), 1)
			r.end()
		})
	})
	t.Run("where there is more than it takes", func(t *testing.T) {
		bubble(t, func(r *rig) {
			q, publish := begin(r)
			handleSlowly(q, time.Second)
			q.now(19) // one notification for two full calls
			publish()
			pass(time.Second + 10*time.Millisecond)
			r.is.Equal(len(q.done()), 20)
			r.end()
		})
	})
}

func TestHold_LooksMoreOftenOnceNothingIsTold(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		q := &heldQueue{}
		r.startHeld(q, q.config())
		pass(time.Second)
		q.now(1)
		r.engine.SetListening(false)
		pass(r.cfg.BlindPoll)
		r.is.Equal(len(q.done()), 1)
		q.now(1)
		pass(2 * r.cfg.BlindPoll)
		r.is.Equal(len(q.done()), 2)
		r.end()
	})
}

func TestHold_ExpiredLeasesAndPendingRowsTakeTurns(t *testing.T) {
	bubble(t, func(r *rig) {
		q := &heldQueue{expired: 35, takes: time.Second}
		q.now(35)
		c := q.config()
		c.Concurrency = 1
		r.startHeld(q, c)
		pass(time.Minute)
		r.is.Equal(len(q.done()), 70)
		r.end()
		r.is.Equal(q.order, []bool{true, false, true, false, true, false, true, false})
	})
}

func TestHold_FindsLateCommitsBelowTheFloor(t *testing.T) {
	bubble(t, func(r *rig) {
		q := &heldQueue{looks: 20 * time.Millisecond}
		r.startHeld(q, q.config())
		for range 20 {
			q.now(1)
			r.engine.Wake("held")
			pass(50 * time.Millisecond)
		}
		floored := 0
		for _, since := range q.begun() {
			if !since.IsZero() {
				floored++
			}
		}
		r.is.True(floored > 10)

		q.add(time.Now().Add(-time.Hour))
		r.engine.Wake("held")
		pass(maxSweepGap)
		r.is.Equal(len(q.done()), 21)
		r.end()
	})
}

// What was held and not settled lies below where the next claim would begin.
func TestHold_SweepsForWhatWasNotSettled(t *testing.T) {
	for name, fail := range map[string]func(*heldQueue){
		"let go": func(q *heldQueue) { q.letGo = true },
		"failed": func(q *heldQueue) { q.err = errStore },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				q := &heldQueue{looks: 20 * time.Millisecond}
				c := q.config()
				c.Concurrency = 1
				r.startHeld(q, c)
				q.now(1)
				r.engine.Wake("held")
				pass(50 * time.Millisecond)
				r.is.Equal(len(q.done()), 1)

				q.mu.Lock()
				fail(q)
				q.due = append(q.due, time.Now())
				begun := len(q.since)
				q.mu.Unlock()
				r.engine.Wake("held")
				pass(25 * time.Millisecond)
				q.mu.Lock()
				q.err = nil
				q.mu.Unlock()
				pass(2 * firstBackoff)
				since := q.begun()[begun:]
				r.is.Equal(len(q.done()), 2)
				if name == "let go" {
					r.is.True(!since[0].IsZero()) // it had a floor
					since = since[1:]
				}
				r.is.True(since[0].IsZero())
				r.end()
			})
		})
	}
}

// Whatever the other goroutines bring meanwhile.
func TestHold_SweepsForWhatWasNotSettledWhateverOthersFind(t *testing.T) {
	type answer struct {
		held Held
		err  error
	}
	type call struct {
		since time.Time
		found func(Held)
		end   chan answer
	}
	for name, lost := range map[string]answer{
		"let go": {held: Held{Messages: 1, Newest: time.Now(), LetGo: true}},
		"failed": {err: errStore},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				begun := make(chan call)
				r.start(Queue{Name: "held", Concurrency: 2, Batch: 10, Lease: time.Minute,
					Hold: func(ctx context.Context, c store.Claim, found func(Held)) (Held, error) {
						if c.ExpiredAfter > 0 {
							return Held{}, nil
						}
						self := call{c.Since, found, make(chan answer)}
						select {
						case begun <- self:
						case <-ctx.Done():
							return Held{}, ctx.Err()
						}
						select {
						case a := <-self.end:
							return a.held, a.err
						case <-ctx.Done():
							return Held{}, ctx.Err()
						}
					}})
				r.engine.Wake("held")
				r.engine.Wake("held")
				brings := func(c call) { // a message
					held := Held{Messages: 1, Newest: time.Now(), Looked: time.Second}
					c.found(held)
					c.end <- answer{held: held}
				}
				first, second := <-begun, <-begun
				brings(first)
				brings(second)
				first, second = <-begun, <-begun
				r.is.True(!first.since.IsZero() && !second.since.IsZero())
				if lost.err == nil {
					first.found(lost.held)
				}
				first.end <- lost
				synctest.Wait()
				brings(second) // it began before
				first, second = <-begun, <-begun
				r.is.True(first.since.IsZero() && second.since.IsZero())
				for range 2 { // one may have begun in the same instant
					pass(time.Millisecond)
					brings(first)
					first = <-begun
				}
				r.is.True(!first.since.IsZero())
				r.end()
			})
		})
	}
}

func TestHold_GoesOnWhenTheStoreIsBackAndSaysSoOnce(t *testing.T) {
	for _, looks := range []bool{false, true} { // their connections are others
		t.Run(fmt.Sprint("looks succeed: ", looks), func(t *testing.T) {
			bubble(t, func(r *rig) {
				if !looks {
					r.fail(failing(look), nil)
				}
				q := &heldQueue{err: errStore}
				r.startHeld(q, q.config())
				pass(time.Minute)
				r.is.Equal(r.logs.count(slog.LevelError), 1)
				r.is.True(q.made() < 4*30) // it backs off
				q.mu.Lock()
				q.err = nil
				q.mu.Unlock()
				r.fail(nil, nil)
				q.now(5)
				pass(maxBackoff)
				r.is.Equal(len(q.done()), 5)
				r.is.Equal(r.logs.count(slog.LevelError), 1)
				r.is.Equal(r.logs.count(slog.LevelInfo), 1)
				r.end()
			})
		})
	}
}

func TestHold_Drains(t *testing.T) {
	for _, tt := range []struct {
		name    string
		takes   time.Duration
		drain   time.Duration
		handled int
	}{
		{name: "what runs finishes", takes: 8 * time.Second, drain: 7 * time.Second, handled: 40},
		{name: "or is cancelled", takes: time.Hour, drain: 10 * time.Second, handled: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				q := &heldQueue{takes: tt.takes}
				q.now(100)
				r.startHeld(q, q.config(), queueOf(ack))
				pass(time.Second)
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.Equal(took, tt.drain)
				r.is.Equal(len(q.done()), tt.handled)
				r.is.Equal(q.most, 4)
			})
		})
	}
}

func TestHold_LeavesWedgedWorkBehind(t *testing.T) {
	bubble(t, func(r *rig) {
		free := make(chan struct{})
		defer close(free)
		r.start(Queue{Name: "held", Concurrency: 2, Batch: 1, Lease: time.Minute,
			Hold: func(context.Context, store.Claim, func(Held)) (Held, error) {
				<-free
				return Held{}, nil
			}})
		r.engine.Wake("held")
		r.engine.Wake("held")
		synctest.Wait()
		took, err := r.stop()
		var unfinished *UnfinishedError
		r.is.True(errors.As(err, &unfinished))
		r.is.Equal(unfinished.Messages, 2)
		r.is.True(took <= r.cfg.Grace+DrainBound)
	})
}
