package pgtest

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Open is [New] for Example functions, which have no testing.TB: it creates a database with the schema and connects to it. done closes the
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
	server, err := Server()
	if err != nil {
		return nil, nil, err
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
