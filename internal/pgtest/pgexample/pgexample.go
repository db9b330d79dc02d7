// Package pgexample gives Example functions, which have no testing.TB, a
// PostgreSQL database of their own.
package pgexample

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// shared is the server of this test binary. It is never closed: it ends with the
// process.
var shared = sync.OnceValues(func() (*pgserver.Server, error) { return pgserver.Start(context.Background()) })

// Open creates a database with the schema and connects to it. done closes the
// pool and drops the database. Where there is no server, done says why and the
// pool is nil.
func Open(ctx context.Context, schema string) (pool *pgxpool.Pool, done func()) {
	pool, done, err := open(ctx, schema)
	if err != nil {
		return nil, func() { fmt.Println(err) }
	}
	return pool, done
}

func open(ctx context.Context, schema string) (*pgxpool.Pool, func(), error) {
	server, err := shared()
	if err != nil {
		return nil, nil, fmt.Errorf("start a server: %w", err)
	}
	dsn, drop, err := server.CreateDatabase(ctx, schema)
	if err != nil {
		return nil, nil, err
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	return pool, func() {
		pool.Close()
		if err := drop(context.WithoutCancel(ctx)); err != nil {
			fmt.Println(err) // which fails the example's output
		}
	}, nil
}
