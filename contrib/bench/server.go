package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// server is the database that everything is measured in. Each run gets a schema of its own in it; see database.
type server struct {
	dsn     string
	about   string // for people
	counts  bool   // pg_stat_statements is there
	lock    *pgx.Conn
	closers []func(context.Context) error
}

// statementStats is what a server of our own loads for the counters, where its installation has it.
const statementStats = "pg_stat_statements"

// openServer connects to dsn, or starts a PostgreSQL of its own, with fsync on and its data on a disk. counting makes it
// keep statistics of statements, where it can. settings are for a server of our own only.
func openServer(ctx context.Context, dsn string, counting bool, settings ...pgserver.Option) (_ *server, err error) {
	s := &server{dsn: dsn}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if dsn == "" {
		if err := s.start(ctx, counting, settings); err != nil {
			return nil, err
		}
	}
	if s.lock, err = pgx.Connect(ctx, s.dsn); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	s.closers = append(s.closers, s.lock.Close)
	if dsn != "" {
		c := s.lock.Config()
		s.about = fmt.Sprintf("PostgreSQL %s at %s, database %s", s.lock.PgConn().ParameterStatus("server_version"), c.Host, c.Database)
	}
	if err := s.claim(ctx); err != nil {
		return nil, err
	}
	if counting {
		s.counting(ctx)
	}
	return s, nil
}

func (s *server) start(ctx context.Context, counting bool, settings []pgserver.Option) error {
	// PostgreSQL's own defaults; the size of the log is named because it depends on how the data directory was made.
	settings = append([]pgserver.Option{
		pgserver.Durable(), pgserver.Config("max_wal_size", "1GB"), pgserver.Config("min_wal_size", "80MB"),
	}, settings...)
	var (
		own *pgserver.Server
		err error
	)
	if counting { // a server does not start with a library that is not there: try, and do without
		own, err = pgserver.Start(ctx, append(settings, pgserver.Config("shared_preload_libraries", statementStats))...)
	}
	if own == nil && ctx.Err() == nil {
		own, err = pgserver.Start(ctx, settings...)
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { return own.Close() })
	dsn, drop, err := own.CreateDatabase(ctx, "")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, drop)
	s.dsn, s.about = dsn, own.Origin()
	return nil
}

// counting sees whether statements are counted. The extension goes at the end if it was not there before.
func (s *server) counting(ctx context.Context) {
	var there bool
	err := s.lock.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_extension WHERE extname = $1)`, statementStats).Scan(&there)
	if err == nil && !there {
		if _, err = s.lock.Exec(ctx, `CREATE EXTENSION `+statementStats); err == nil {
			s.closers = append(s.closers, func(ctx context.Context) error {
				_, err := s.lock.Exec(ctx, `DROP EXTENSION `+statementStats)
				return err
			})
		}
	}
	if err == nil { // it exists where the server has not loaded it, but then it does not answer
		_, err = s.lock.Exec(ctx, `SELECT count(*) FROM pg_stat_statements`)
	}
	s.counts = err == nil
}

// close undoes everything, the last first, also where ctx has ended.
func (s *server) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last](ctx))
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

// schemaPrefix marks schemas as ours.
const schemaPrefix = "letterbox_bench_"

// claim makes sure that the database is ours to use: nobody else measures in it, and it holds no tables but what a
// benchmark that was killed has left behind, which is dropped.
func (s *server) claim(ctx context.Context) error {
	var free bool
	err := s.lock.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended('letterbox bench', 0))`).Scan(&free)
	if err != nil {
		return fmt.Errorf("lock the database: %w", err)
	}
	if !free {
		return errors.New("another benchmark is running in this database")
	}
	if err := s.dropStale(ctx); err != nil {
		return err
	}
	foreign, err := queryAll[string](ctx, s.lock, `
		SELECT format('%I.%I', n.nspname, c.relname)
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v')
		  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_t%'
		  AND NOT EXISTS (SELECT FROM pg_depend AS d
		                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
		ORDER BY 1
		LIMIT 6`)
	if err != nil {
		return fmt.Errorf("look for tables in the database: %w", err)
	}
	if len(foreign) == 0 {
		return nil
	}
	if len(foreign) > 5 {
		foreign[5] = "..."
	}
	return fmt.Errorf("the database holds tables that are not ours (%s): give an empty one, for a benchmark fills disks and clears caches",
		strings.Join(foreign, ", "))
}

func (s *server) dropStale(ctx context.Context) error {
	stale, err := queryAll[string](ctx, s.lock, `SELECT nspname FROM pg_namespace WHERE starts_with(nspname, $1)`, schemaPrefix)
	if err != nil {
		return fmt.Errorf("look for what an earlier benchmark left: %w", err)
	}
	for _, name := range stale {
		if err := s.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) drop(ctx context.Context, schema string) error {
	_, err := s.lock.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	if err != nil {
		return fmt.Errorf("drop schema %s: %w", schema, err)
	}
	return nil
}
