package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

var publishScenario = scenario{
	name:    "publish",
	about:   "a transaction with one insert of the user's own: what publishing in it costs, and how soon a worker starts",
	n:       4000,
	what:    "transactions of each kind, for each number of committers",
	systems: []string{"letterbox", "floor", "river", "watermill"},
	charted: []string{"1 committer: kept", "8 committers: kept", "8 committers: start p99"},
	run:     publish,
}

// pieces is what a measurement is cut into. With publishing and without take turns, so that what the machine does
// otherwise is in both.
const pieces = 8

func publish(ctx context.Context, r *run) error {
	for _, committers := range []int{1, 8} {
		for _, withWorker := range []bool{false, true} {
			err := r.in(ctx, func(db *database) error { return publishWith(ctx, r, db, committers, withWorker) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// publishWith measures with so many committers, with a worker that handles what is published or without.
func publishWith(ctx context.Context, r *run, db *database, committers int, withWorker bool) error {
	p := &publisher{run: r, db: db, committed: make([]atomic.Int64, r.n+1), began: time.Now()}
	if _, err := db.pool.Exec(ctx, `CREATE TABLE domain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL)`); err != nil {
		return err
	}
	name := fmt.Sprintf("%d committers", committers)
	if committers == 1 {
		name = "1 committer"
	}
	if !withWorker {
		if err := p.alternate(ctx, committers); err != nil {
			return err
		}
		r.add(p.metrics(name + ", no worker")...)
		return nil
	}
	a := newAudit(r.n + 1)
	p.handled = make([]atomic.Int64, r.n+1)
	ready := make(chan struct{})
	lost, err := r.working(ctx, worker{db: db, handle: func(number int) {
		p.handled[number].Store(int64(time.Since(p.began)))
		if a.handle(number); number == 0 {
			close(ready)
		}
	}}, func(ctx context.Context) error {
		if err := p.warmUp(ctx, ready); err != nil {
			return err
		}
		if err := p.alternate(ctx, committers); err != nil {
			return err
		}
		return a.wait(ctx)
	})
	if err != nil {
		return err
	}
	r.add(p.metrics(name)...)
	return r.check(ctx, db, a, lost)
}

// publisher commits transactions, with and without a message in them.
type publisher struct {
	*run
	db            *database
	bare, full    []float64 // transactions a second, slice by slice
	began         time.Time
	committed     []atomic.Int64 // when, since began
	handled       []atomic.Int64
	nextPublished atomic.Int64
}

// warmUp publishes a message that is not measured, and returns once the worker has it: it runs and listens then.
func (p *publisher) warmUp(ctx context.Context, ready <-chan struct{}) error {
	if err := p.commit(ctx, true); err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(stall):
		return fmt.Errorf("the first message was not handled within %v", stall)
	}
}

// alternate measures slice by slice.
func (p *publisher) alternate(ctx context.Context, committers int) error {
	each := max(1, p.n/pieces)
	for range pieces {
		for _, publishing := range []bool{false, true} {
			took, err := p.slice(ctx, committers, each, publishing)
			if err != nil {
				return err
			}
			perSecond := float64(each) / took.Seconds()
			if publishing {
				p.full = append(p.full, perSecond)
			} else {
				p.bare = append(p.bare, perSecond)
			}
		}
	}
	// What does not divide by the slices is published without being measured.
	if rest := p.n - each*pieces; rest > 0 {
		_, err := p.slice(ctx, committers, rest, true)
		return err
	}
	return nil
}

// slice commits n transactions.
func (p *publisher) slice(ctx context.Context, committers, n int, publishing bool) (time.Duration, error) {
	var todo atomic.Int64
	todo.Store(int64(n))
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for range committers {
		group.Go(func() error {
			for todo.Add(-1) >= 0 {
				if err := p.commit(ctx, publishing); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return time.Since(began), err
}

func (p *publisher) commit(ctx context.Context, publishing bool) error {
	number := -1
	err := pgx.BeginFunc(ctx, p.db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO domain (note) VALUES ($1)`, "a row of the user's own"); err != nil {
			return err
		}
		if !publishing {
			return nil
		}
		number = int(p.nextPublished.Add(1)) - 1
		return p.system.publish(ctx, tx, number, time.Time{})
	})
	if number >= 0 {
		p.committed[number].Store(int64(time.Since(p.began)))
	}
	return err
}

// metrics are the rates and, where a worker ran, how long after the commit it started.
func (p *publisher) metrics(name string) []metric {
	bare := rate(name+": bare", median(p.bare))
	bare.Own = true
	out := []metric{
		bare,
		rate(name+": publishing", median(p.full)),
		share(name+": kept", median(ratios(p.full, p.bare))),
	}
	if p.handled == nil {
		return out
	}
	waits := make([]float64, len(p.handled)-1)
	for i := range waits {
		waits[i] = inMillis(max(0, time.Duration(p.handled[i+1].Load()-p.committed[i+1].Load())))
	}
	return append(out, millis(name+": start p50", percentile(waits, 50)), millis(name+": start p99", percentile(waits, 99)))
}
