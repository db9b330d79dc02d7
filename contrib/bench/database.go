package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// database is the empty schema that a run works in. Everything in it goes at the end, whatever happens.
type database struct {
	server *server
	schema string
	trips  *roundTrips
	pool   *pgxpool.Pool // for all but the workers
}

// poolName is what the connections say they are that are not a worker's.
const poolName = "bench"

// newDatabase makes a schema and a pool that works in it.
func (s *server) newDatabase(ctx context.Context) (_ *database, err error) {
	db := &database{server: s, schema: schemaPrefix + strings.ToLower(rand.Text()[:10]), trips: new(roundTrips)}
	if _, err := s.lock.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{db.schema}.Sanitize()); err != nil {
		return nil, fmt.Errorf("make a schema: %w", err)
	}
	if db.pool, err = db.connect(ctx, poolName, 12); err != nil {
		return nil, errors.Join(err, db.close(ctx))
	}
	return db, nil
}

// connect opens a pool of at most so many connections that says who it is and works in the schema.
func (db *database) connect(ctx context.Context, name string, most int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(db.server.dsn)
	if err != nil {
		return nil, fmt.Errorf("read the DSN: %w", err)
	}
	config.MaxConns = most
	config.ConnConfig.RuntimeParams["application_name"] = name
	config.ConnConfig.RuntimeParams["search_path"] = db.schema
	config.ConnConfig.DialFunc = db.trips.counting(config.ConnConfig.DialFunc)
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return pool, nil
}

// close drops the schema, also where ctx has ended.
func (db *database) close(ctx context.Context) error {
	if db.pool != nil {
		db.pool.Close()
	}
	return db.server.drop(context.WithoutCancel(ctx), db.schema)
}

// tidy puts the tables into the state in which everything is measured: vacuumed, analyzed, and written to disk.
func (db *database) tidy(ctx context.Context) error {
	if err := db.vacuum(ctx); err != nil {
		return err
	}
	// A role that may not do this measures with a checkpoint at any time.
	_, _ = db.pool.Exec(ctx, "CHECKPOINT")
	return nil
}

func (db *database) vacuum(ctx context.Context) error {
	tables, err := queryAll[string](ctx, db.pool, `
		SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1`, db.schema)
	if err != nil {
		return fmt.Errorf("list the tables: %w", err)
	}
	if len(tables) == 0 {
		return nil
	}
	if _, err := db.pool.Exec(ctx, "VACUUM ANALYZE "+strings.Join(tables, ", ")); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	return nil
}

// querier is what queryAll asks: a connection or a pool.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// queryAll returns the one column of all rows.
func queryAll[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
