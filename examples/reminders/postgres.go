package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// openDatabase finds or starts a PostgreSQL server and creates an empty database on it. closeAll undoes both. A service
// has its own server, and needs only pgxpool.New.
func openDatabase(ctx context.Context) (_ *pgxpool.Pool, closeAll func() error, err error) {
	server, err := pgserver.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	fmt.Println("using", server.Origin())

	// Not cut short by a ctrl-C: what was half created could not be dropped.
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	dsn, drop, err := server.CreateDatabase(brief, "")
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	closeDatabase := func() error {
		brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return errors.Join(drop(brief), server.Close())
	}
	pool, err := pgxpool.New(brief, dsn)
	if err != nil {
		return nil, nil, errors.Join(err, closeDatabase())
	}
	return pool, func() error {
		pool.Close()
		return closeDatabase()
	}, nil
}
