package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

var pinnedScenario = scenario{
	name:    "pinned",
	about:   "messages a second that are published and handled, all the while another session holds a snapshot open; see -for",
	n:       20_000,
	what:    "messages at most between publisher and worker",
	systems: []string{"letterbox", "floor", "river"},
	charted: []string{"pinned", "kept"},
	run:     func(ctx context.Context, r *run) error { return pinned(ctx, r, single) },
}

var pinnedTxScenario = scenario{
	name:    "pinned-tx",
	about:   "the same, where messages are claimed, handled and deleted in one transaction",
	n:       20_000,
	what:    "messages at most between publisher and worker",
	systems: []string{"letterbox", "floor-tx"},
	charted: []string{"pinned", "kept"},
	run:     func(ctx context.Context, r *run) error { return pinned(ctx, r, batchedTx) },
}

// pinned measures twice: as things are, then under an open snapshot, which keeps every dead row in the table.
func pinned(ctx context.Context, r *run, f form) error {
	free, err := r.stream(ctx, f, false)
	if err != nil {
		return err
	}
	held, err := r.stream(ctx, f, true)
	if err != nil {
		return err
	}
	r.result.Series = []series{{"unpinned", free}, {"pinned", held}}
	r.add(
		rate("unpinned", mean(free)),
		rate("pinned", mean(held)),
		share("kept", mean(held)/mean(free)),
		share("kept at the end", mean(tail(held))/mean(tail(free))),
	)
	return nil
}

// tail is the last sixth of the values.
func tail(values []float64) []float64 { return values[len(values)-max(1, len(values)/6):] }

// stream publishes as fast as the worker handles, for as long as the settings say, and returns how many messages were
// handled in each second.
func (r *run) stream(ctx context.Context, f form, underSnapshot bool) (perSecond []float64, err error) {
	err = r.in(ctx, func(db *database) error {
		if underSnapshot {
			release, err := holdSnapshot(ctx, db)
			if err != nil {
				return err
			}
			defer release()
		}
		// More than any system can do; a bit for each is not much.
		a := newOpenAudit(int(r.set.length.Seconds()+1)*500_000 + 2*r.n)
		w := worker{db: db, form: f, handle: a.handle}
		lost, err := r.working(ctx, w, func(ctx context.Context) error {
			var published atomic.Int64
			group, ctx := errgroup.WithContext(ctx)
			timed, stop := context.WithTimeout(ctx, r.set.length)
			defer stop()
			group.Go(func() error { return r.keepPublishing(ctx, timed, db, a, &published) })
			group.Go(func() error { perSecond = everySecond(timed, &a.handled); return nil })
			if err := group.Wait(); err != nil {
				return err
			}
			a.expect(int(published.Load()))
			return nil
		})
		if err != nil {
			return err
		}
		if err := r.rest(ctx, w, a, &lost); err != nil {
			return err
		}
		return r.check(ctx, db, a, lost)
	})
	if err == nil && len(perSecond) == 0 {
		err = errors.New("-for is too short to measure anything")
	}
	return perSecond, err
}

// rest handles what was published and not yet handled. The worker of the measurement has stopped: this one finds what it
// handed back.
func (r *run) rest(ctx context.Context, w worker, a *audit, lost *int) error {
	if a.handled.Load() == a.want.Load() {
		return nil
	}
	more, err := r.working(ctx, w, a.wait)
	*lost += more
	return err
}

// publishAtOnce is how many messages a transaction of the publisher has.
const publishAtOnce = 1000

// keepPublishing publishes until timed ends, but never lets more than n messages wait.
func (r *run) keepPublishing(ctx, timed context.Context, db *database, a *audit, published *atomic.Int64) error {
	for timed.Err() == nil {
		next := int(published.Load())
		if next-int(a.handled.Load()) > r.n-publishAtOnce {
			_ = sleep(timed, time.Millisecond)
			continue
		}
		err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
			return r.system.fill(ctx, tx, span{next, next + publishAtOnce}, time.Time{})
		})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		published.Add(publishAtOnce)
	}
	return context.Cause(ctx)
}

// everySecond reads how much a counter grows in each full second until ctx ends.
func everySecond(ctx context.Context, n *atomic.Int64) (growth []float64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before, at := n.Load(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return growth
		case <-tick.C:
			count, now := n.Load(), time.Now()
			growth = append(growth, float64(count-before)/now.Sub(at).Seconds())
			before, at = count, now
		}
	}
}

// holdSnapshot opens a transaction that sees the database as it is now, until release.
func holdSnapshot(ctx context.Context, db *database) (release func(), err error) {
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	release = func() { _ = tx.Rollback(context.WithoutCancel(ctx)) } // or the connection is gone, and the snapshot with it
	if _, err := tx.Exec(ctx, `SELECT 1`); err != nil {
		release()
		return nil, fmt.Errorf("hold a snapshot: %w", err)
	}
	return release, nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for v := range slices.Values(values) {
		sum += v
	}
	return sum / float64(len(values))
}
