package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func concurrentScenarios() []scenario {
	return []scenario{
		{"workers that share a queue handle each row once", concurrentWorkers},
		{"an expired lease goes to one of many claimers", concurrentExpired},
		{"extending, acking and burying the same claim do not get in each other's way", concurrentExtend},
		{"the same outcomes sent twice at once take effect once", concurrentRepeat},
	}
}

// inParallel runs the functions to their ends and stops the test on an error
// of any.
func (s *scene) inParallel(fns ...func() error) {
	s.t.Helper()
	s.Helper()
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	s.NoErr(errors.Join(errs...))
}

func concurrentWorkers(s *scene) {
	const workers, rows = 8, 2000
	var ids []int64
	for range 2 {
		ids = append(ids, s.publishN("orders", rows/2)...)
	}
	handled := make([][]int64, workers)
	var fns []func() error
	for w := range workers {
		fns = append(fns, func() (err error) {
			handled[w], err = work(s.ctx, s.store, "orders")
			return err
		})
	}

	s.inParallel(fns...)

	s.Equal(sorted(slices.Concat(handled...)), sorted(ids)) // each once
	s.Equal(len(s.rows()), 0)
}

// work claims and acks until the queue is empty, and says what it acked.
func work(ctx context.Context, st store.Store, queue string) ([]int64, error) {
	var handled []int64
	var acks []store.Outcome
	for {
		ex, err := st.Exchange(ctx, acks, []store.Claim{pending(queue, 50)})
		if err != nil {
			return nil, err
		}
		if len(ex.Settled) != len(acks) {
			return nil, fmt.Errorf("settled %d of %d acks", len(ex.Settled), len(acks))
		}
		handled = append(handled, ex.Settled...)
		acks = acks[:0]
		for _, m := range ex.Batches[0].Messages {
			if m.Deliveries != 1 {
				return nil, fmt.Errorf("row %d came for the %d. time", m.ID, m.Deliveries)
			}
			acks = append(acks, ack(m))
		}
		if len(acks) == 0 {
			if !ex.Batches[0].HasNext {
				return handled, nil
			}
			// What is left is locked by the others: passed over, not gone.
			runtime.Gosched()
		}
	}
}

func concurrentExpired(s *scene) {
	const claimers, rows = 8, 500
	ids := s.publishN("orders", rows)
	s.Equal(len(s.claimUpTo("orders", rows)), rows)
	s.advance(2 * time.Hour)
	taken := make([][]int64, claimers)
	var fns []func() error
	for c := range claimers {
		fns = append(fns, func() (err error) {
			taken[c], err = takeOver(s.ctx, s.store, "orders", time.Hour)
			return err
		})
	}

	s.inParallel(fns...)

	s.Equal(sorted(slices.Concat(taken...)), sorted(ids)) // each once
	for _, row := range s.rows() {
		s.Equal(row.Deliveries, int64(2))
	}
}

// takeOver claims expired leases until there are none.
func takeOver(ctx context.Context, st store.Store, queue string, age time.Duration) ([]int64, error) {
	var taken []int64
	for {
		ex, err := st.Exchange(ctx, nil, []store.Claim{expired(queue, 20, age)})
		if err != nil {
			return nil, err
		}
		taken = append(taken, idsOf(ex.Batches[0].Messages)...)
		if len(ex.Batches[0].Messages) > 0 {
			continue
		}
		looks, err := st.Look(ctx, []store.Watch{{Queue: queue, ExpiredAfter: age}})
		if err != nil {
			return nil, err
		}
		if !looks[0].Expired {
			return taken, nil
		}
		runtime.Gosched()
	}
}

func concurrentExtend(s *scene) {
	const rows = 400
	s.publishN("orders", rows)
	ms := s.claimUpTo("orders", rows)
	s.Equal(len(ms), rows)
	// Each party sees the rows in an order of its own: where locks are taken
	// in the order of the request, they cross.
	acks, burials := shuffled(ms[:rows/2]), shuffled(ms[rows/2:])
	done := make(chan struct{})
	settlers := []func() error{
		func() error {
			return inChunks(acks, 20, ack, func(os []store.Outcome) (settled, locked []int64, err error) {
				ex, err := s.store.Exchange(s.ctx, os, nil)
				return ex.Settled, ex.Locked, err
			})
		},
		func() error {
			toBury := func(m store.Claimed) store.Outcome { return bury(m, "rejected", "") }
			return inChunks(burials, 20, toBury, func(os []store.Outcome) (settled, locked []int64, err error) {
				return s.store.Bury(s.ctx, os)
			})
		},
	}
	extend := func() error {
		for {
			select {
			case <-done:
				return nil
			default:
			}
			if _, err := s.store.Extend(s.ctx, leasesOf(shuffled(ms))); err != nil {
				return err
			}
		}
	}

	s.inParallel(
		func() error {
			defer close(done)
			errs := make([]error, len(settlers))
			var wg sync.WaitGroup
			for i, settle := range settlers {
				wg.Go(func() { errs[i] = settle() })
			}
			wg.Wait()
			return errors.Join(errs...)
		},
		extend, extend, extend,
	)

	s.Equal(len(s.rows()), 0)
	s.Equal(len(s.deadLetters()), rows/2)
}

// inChunks settles the messages n at a time; every one must take effect, if need be
// after others have let go of its row.
func inChunks(ms []store.Claimed, n int, outcome func(store.Claimed) store.Outcome, settle func([]store.Outcome) (settled, locked []int64, err error)) error {
	for chunk := range slices.Chunk(ms, n) {
		var outcomes []store.Outcome
		for _, m := range chunk {
			outcomes = append(outcomes, outcome(m))
		}
		var settled []int64
		for len(outcomes) > 0 {
			some, locked, err := settle(outcomes)
			if err != nil {
				return err
			}
			settled = append(settled, some...)
			outcomes = slices.DeleteFunc(outcomes, func(o store.Outcome) bool { return !slices.Contains(locked, o.ID) })
		}
		if !slices.Equal(sorted(settled), sorted(idsOf(chunk))) {
			return fmt.Errorf("settled %d of %d held leases", len(settled), len(chunk))
		}
	}
	return nil
}

func concurrentRepeat(s *scene) {
	const rows = 600
	s.publishN("orders", rows)
	ms := s.claimUpTo("orders", rows)
	s.Equal(len(ms), rows)
	var outcomes []store.Outcome
	for i, m := range ms {
		outcomes = append(outcomes, []store.Outcome{
			ack(m), retry(m, time.Hour, time.Minute), release(m, time.Hour),
		}[i%3])
	}
	backwards := slices.Clone(outcomes)
	slices.Reverse(backwards)
	settled := make([][]int64, 4)
	var fns []func() error
	for i := range settled {
		mine := outcomes
		if i%2 == 1 {
			mine = backwards
		}
		fns = append(fns, func() error {
			ex, err := s.store.Exchange(s.ctx, mine, nil)
			settled[i] = ex.Settled
			return err
		})
	}

	s.inParallel(fns...)

	s.Equal(sorted(slices.Concat(settled...)), sorted(idsOf(ms))) // each once
	for _, row := range s.rows() {
		s.True(!row.held())
		s.True(row.Attempts <= 1)
		s.True(row.Deliveries <= 1)
	}
}

func shuffled(ms []store.Claimed) []store.Claimed {
	out := slices.Clone(ms)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
