package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// counted is what a system asks of PostgreSQL for one message: numbers that hardly depend on the machine. So they can be
// compared with those of another day, and a change that costs more is seen in a test.
type counted struct {
	Case       string             `json:"case"`
	System     string             `json:"system"`
	N          int                `json:"n"`
	PerMessage map[string]float64 `json:"per_message"`
}

// counterCase is work to be counted.
type counterCase struct {
	name    string
	n       int
	systems []string
	run     func(ctx context.Context, r *run, c *counter) error
}

var counterCases = []counterCase{
	{"drain", 20_000, []string{"letterbox", "floor"}, countDrain(worker{})},
	{"drain, batches of 100", 20_000, []string{"letterbox"}, countDrain(worker{form: batched, batch: 100})},
	{"drain-tx", 20_000, []string{"letterbox", "floor-tx"}, countDrain(worker{form: batchedTx})},
	{"publish", 1000, []string{"letterbox", "floor"}, countPublish},
	{"publish in one batch", 10_000, []string{"letterbox", "floor"}, countBatch},
}

// quiet are settings of a server under which nothing is written that is not the work's own: no vacuum meanwhile, no
// images of whole pages. What is written need not be on the disk, either.
var quiet = []pgserver.Option{
	pgserver.Config("synchronous_commit", "off"),
	pgserver.Config("autovacuum", "off"),
	pgserver.Config("full_page_writes", "off"),
	pgserver.Config("checkpoint_timeout", "1h"),
	pgserver.Config("track_io_timing", "off"),
}

// countAll counts every case.
func countAll(ctx context.Context, s *server, set settings) ([]counted, error) {
	var all []counted
	for _, c := range counterCases {
		for _, name := range c.systems {
			r := &run{server: s, system: systems[name], set: set, n: c.n}
			count := &counter{server: s}
			if err := c.run(ctx, r, count); err != nil {
				return all, fmt.Errorf("count %s with %s: %w", c.name, name, err)
			}
			all = append(all, counted{Case: c.name, System: name, N: c.n, PerMessage: count.per(c.n)})
		}
	}
	return all, nil
}

func countDrain(w worker) func(context.Context, *run, *counter) error {
	return func(ctx context.Context, r *run, c *counter) error {
		return r.in(ctx, func(db *database) error {
			if err := r.fill(ctx, db, span{0, r.n}, time.Time{}); err != nil {
				return err
			}
			if err := db.vacuum(ctx); err != nil {
				return err
			}
			a := newAudit(r.n)
			w, lost := w, 0
			w.db = db
			err := c.around(ctx, db, func() (err error) {
				_, lost, err = r.handleAll(ctx, w, a)
				return err
			})
			if err != nil {
				return err
			}
			return r.check(ctx, db, a, lost)
		})
	}
}

func countPublish(ctx context.Context, r *run, c *counter) error {
	return r.in(ctx, func(db *database) error {
		return c.around(ctx, db, func() error {
			for i := range r.n {
				err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error { return r.system.publish(ctx, tx, i, time.Time{}) })
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func countBatch(ctx context.Context, r *run, c *counter) error {
	return r.in(ctx, func(db *database) error {
		return c.around(ctx, db, func() error { return r.fill(ctx, db, span{0, r.n}, time.Time{}) })
	})
}

// counter reads PostgreSQL's statistics before and after some work.
type counter struct {
	server        *server
	before, after map[string]float64
}

// around counts what f does. Backends tell what they did when they end, so connections are closed before each reading.
func (c *counter) around(ctx context.Context, db *database, f func() error) (err error) {
	if c.before, err = c.read(ctx, db); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	c.after, err = c.read(ctx, db)
	return err
}

// per is the difference for one of n messages.
func (c *counter) per(n int) map[string]float64 {
	out := map[string]float64{}
	for name := range c.after {
		out[name] = (c.after[name] - c.before[name]) / float64(n)
	}
	return out
}

// read takes all statistics.
func (c *counter) read(ctx context.Context, db *database) (map[string]float64, error) {
	db.pool.Reset()
	if err := c.gone(ctx); err != nil {
		return nil, err
	}
	out := map[string]float64{"round trips": float64(db.trips.n.Load())}
	if c.server.counts {
		if err := c.row(ctx, out, statementCounters); err != nil {
			return nil, err
		}
	}
	if err := c.row(ctx, out, tableCounters, db.schema); err != nil {
		return nil, err
	}
	return out, c.row(ctx, out, walCounters)
}

// The statements that read statistics; each column is a counter by its name.
const (
	statementCounters = `
		SELECT sum(calls)::float8 AS statements,
		       sum(shared_blks_hit + shared_blks_read)::float8 AS buffers
		FROM pg_stat_statements AS s
		JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()
		WHERE query NOT LIKE '%pg\_stat\_%'`
	tableCounters = `
		SELECT COALESCE(sum(n_tup_ins), 0)::float8 AS "rows inserted", COALESCE(sum(n_tup_upd), 0)::float8 AS "rows updated",
		       COALESCE(sum(n_tup_del), 0)::float8 AS "rows deleted", COALESCE(sum(n_dead_tup), 0)::float8 AS "dead rows"
		FROM pg_stat_user_tables WHERE schemaname = $1`
	walCounters = `
		SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS "wal bytes", wal_records::float8 AS "wal records"
		FROM pg_stat_wal`
)

func (c *counter) row(ctx context.Context, into map[string]float64, sql string, args ...any) error {
	rows, err := c.server.lock.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	if err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	for name, value := range got {
		v, ok := value.(float64)
		if !ok {
			return fmt.Errorf("read statistics: %s is %v", name, value)
		}
		into[name] = v
	}
	return nil
}

// gone waits until all connections of runs have ended.
func (c *counter) gone(ctx context.Context) error {
	for range 1000 {
		var n int
		err := c.server.lock.QueryRow(ctx, `
			SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name IN ($1, $2)`, workerName, poolName).Scan(&n)
		if err != nil {
			return fmt.Errorf("wait for connections to end: %w", err)
		}
		if n == 0 {
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("connections of the benchmark do not end")
}

// find returns the counters of a case with a system.
func find(all []counted, c, system string) (counted, bool) {
	i := slices.IndexFunc(all, func(x counted) bool { return x.Case == c && x.System == system })
	if i < 0 {
		return counted{}, false
	}
	return all[i], true
}
