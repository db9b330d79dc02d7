package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// scratch is an outbox of its own in a schema of its own. Its session holds an advisory lock named after the schema: so a
// schema of a run that was killed is one whose lock is free.
type scratch struct {
	pool   *pgxpool.Pool
	conn   *pgxpool.Conn
	server string
	outbox queue.Outbox
}

const (
	scratchPrefix = "letterbox_scratch_"
	// scratchMark is the schema's comment, without which none is dropped.
	scratchMark = "made by letterbox bench, which drops it"
)

// newScratch drops what killed runs have left, and makes a schema with tables.
func newScratch(ctx context.Context, pool *pgxpool.Pool) (_ *scratch, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	s := &scratch{pool: pool, conn: conn, outbox: queue.Outbox{Schema: scratchPrefix + strings.ToLower(rand.Text()[:10])}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	var backend uint32
	var reads, may bool
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid(), pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'), 'PostgreSQL ' || current_setting('server_version')`).
		Scan(&backend, &reads, &may, &s.server)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at the server: %w", err)
	case backend != conn.Conn().PgConn().PID():
		return nil, errors.New("a pooler stands before the server: give a direct connection, for what is measured should not be the pooler")
	case reads:
		return nil, errors.New("the server is a standby, and takes no writes")
	case !may:
		return nil, errors.New("the role may not make a schema here: it needs CREATE on the database")
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, s.outbox.Schema); err != nil {
		return nil, fmt.Errorf("lock a schema: %w", err)
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		name := pgx.Identifier{s.outbox.Schema}.Sanitize()
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "COMMENT ON SCHEMA "+name+" IS '"+scratchMark+"'"); err != nil {
			return err
		}
		return s.outbox.Create(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("make a schema: %w", err)
	}
	return s, nil
}

// sweep drops the schemas of runs that were killed.
func (s *scratch) sweep(ctx context.Context) error {
	rows, err := s.conn.Query(ctx, `
		SELECT nspname FROM pg_namespace
		WHERE starts_with(nspname, $1) AND obj_description(oid, 'pg_namespace') = $2 AND pg_has_role(nspowner, 'USAGE')`, scratchPrefix, scratchMark)
	if err != nil {
		return fmt.Errorf("look for what an earlier run left: %w", err)
	}
	old, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for what an earlier run left: %w", err)
	}
	for _, name := range old {
		var free bool
		if err := s.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock(hashtextextended($1, 0))`, name).Scan(&free); err != nil {
			return fmt.Errorf("lock a schema: %w", err)
		}
		if !free {
			continue // its run goes on
		}
		if err := s.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *scratch) drop(ctx context.Context, name string) error {
	if _, err := s.pool.Exec(ctx, "DROP SCHEMA IF EXISTS "+pgx.Identifier{name}.Sanitize()+" CASCADE"); err != nil {
		return fmt.Errorf("drop schema %s: %w", name, err)
	}
	return nil
}

// close drops the schema, also where ctx has ended and its own session with it, and lets that go with its locks.
func (s *scratch) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := s.drop(ctx, s.outbox.Schema)
	_ = s.conn.Hijack().Close(ctx) // the server ends what is left of it
	return err
}
