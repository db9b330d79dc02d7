package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var fleetScenario = scenario{
	name:    "fleet",
	about:   "four worker processes on one queue beside one; and what a worker of 200 queues costs while it is idle, see -for",
	n:       200_000,
	what:    "messages in the backlog",
	systems: []string{"letterbox"},
	charted: []string{"1 process", "4 processes"},
	counts:  true,
	run:     fleet,
}

const (
	fleetSize   = 4
	manyQueues  = 200
	fleetSettle = 3 * time.Second // until a worker that has just started is idle
)

func fleet(ctx context.Context, r *run) error {
	rates := map[int]float64{}
	for _, processes := range []int{1, fleetSize} {
		err := r.in(ctx, func(db *database) error {
			if err := r.fill(ctx, db, span{0, r.n}, time.Time{}); err != nil {
				return err
			}
			if err := db.tidy(ctx); err != nil {
				return err
			}
			a := newAudit(r.n)
			took, lost, err := r.inProcesses(ctx, db, processes, a)
			if err != nil {
				return err
			}
			rates[processes] = float64(r.n) / took.Seconds()
			return r.check(ctx, db, a, lost)
		})
		if err != nil {
			return fmt.Errorf("%d processes: %w", processes, err)
		}
	}
	r.add(
		rate("1 process", rates[1]),
		rate(fmt.Sprintf("%d processes", fleetSize), rates[fleetSize]),
		share(fmt.Sprintf("%d processes / 1", fleetSize), rates[fleetSize]/rates[1]),
	)
	for _, queues := range []int{1, manyQueues} {
		switch err := r.idleCost(ctx, queues); {
		case errors.Is(err, errUnsupported):
		case err != nil:
			return fmt.Errorf("%d queues: %w", queues, err)
		}
	}
	return nil
}

// idleCost counts what an idle worker of so many queues does.
func (r *run) idleCost(ctx context.Context, queues int) error {
	return r.in(ctx, func(db *database) error {
		w := worker{db: db, queues: queues, handle: func(int) {}}
		_, err := r.working(ctx, w, func(ctx context.Context) error {
			if err := sleep(ctx, fleetSettle); err != nil {
				return err
			}
			connections, err := db.connections(ctx)
			if err != nil {
				return err
			}
			before, err := db.statements(ctx)
			if err != nil {
				return err
			}
			trips := db.trips.n.Load()
			if err := sleep(ctx, r.set.length); err != nil {
				return err
			}
			trips = db.trips.n.Load() - trips
			after, err := db.statements(ctx)
			if err != nil {
				return err
			}
			name := fmt.Sprintf("%d queues, idle: ", queues)
			if queues == 1 {
				name = "1 queue, idle: "
			}
			minutes := r.set.length.Minutes()
			r.add(count(name+"connections", float64(connections)), count(name+"round trips a minute", float64(trips)/minutes))
			if db.server.counts {
				r.add(count(name+"statements a minute", float64(after-before)/minutes))
			}
			return nil
		})
		return err
	})
}

// connections counts those of workers.
func (db *database) connections(ctx context.Context) (n int, err error) {
	err = db.pool.QueryRow(ctx, `
		SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`, workerName).Scan(&n)
	return n, err
}

// statements counts those that were executed so far, but for such as this one; zero where nobody counts.
func (db *database) statements(ctx context.Context) (n int64, err error) {
	if !db.server.counts {
		return 0, nil
	}
	err = db.server.lock.QueryRow(ctx, `
		SELECT COALESCE(sum(calls), 0)::bigint FROM pg_stat_statements AS s
		JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()
		WHERE query NOT LIKE '%pg\_stat\_%'`).Scan(&n)
	return n, err
}
