package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// open opens a database as -dsn does; it is closed at the test's end.
func open(t *testing.T, dsn string) *server {
	t.Helper()
	s, err := openServer(t.Context(), dsn, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenServer_RefusesADatabaseWithTables(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(`CREATE SCHEMA app; CREATE TABLE app.customers (id int)`))
	_, err := openServer(t.Context(), db.DSN, false)
	is.True(err != nil && strings.Contains(err.Error(), "app.customers"))
	var n int
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM app.customers`).Scan(&n)) // it is still there
}

func TestOpenServer_RefusesToShare(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	open(t, db.DSN)
	_, err := openServer(t.Context(), db.DSN, false)
	is.True(err != nil && strings.Contains(err.Error(), "another benchmark"))
}

func TestOpenServer_DropsWhatAKilledOneLeft(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(`CREATE SCHEMA letterbox_bench_old; CREATE TABLE letterbox_bench_old.outbox (id int)`))
	open(t, db.DSN)
	is.Equal(schemas(t, db), 0)
}

func schemas(t *testing.T, db *pgtest.DB) (n int) {
	t.Helper()
	err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'letterbox\_bench\_%'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A run that is interrupted leaves nothing behind, and says that it was.
func TestBench_CleansUpWhenInterrupted(t *testing.T) {
	t.Parallel()
	for _, system := range sorted(systems) {
		t.Run(system, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t)
			set, err := parse([]string{"-n", "200", "-scenario", "idle", "-gap", "20ms", "-system", system, "-dsn", db.DSN}, io.Discard)
			is.NoErr(err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- bench(ctx, set, io.Discard, io.Discard) }()
			working(t, db)
			cancel()
			is.True(errors.Is(<-ended, context.Canceled))
			is.Equal(schemas(t, db), 0)
		})
	}
}

// working waits until a worker is connected.
func working(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var n int
		err := db.Pool.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1`, workerName).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
	t.Fatal("no worker ever connected")
}

func TestRoundTrips_CountsAPipelineOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := open(t, pgtest.New(t).DSN)
	db, err := s.newDatabase(t.Context())
	is.NoErr(err)
	t.Cleanup(func() { is.NoErr(db.close(t.Context())) })
	conn, err := db.pool.Acquire(t.Context())
	is.NoErr(err)
	defer conn.Release()
	many := &pgx.Batch{}
	for range 50 {
		many.Queue(`SELECT 1`)
	}
	is.NoErr(conn.SendBatch(t.Context(), many).Close())
	before := db.trips.n.Load()
	is.NoErr(conn.SendBatch(t.Context(), many).Close())
	is.Equal(db.trips.n.Load()-before, int64(1))
	_, err = conn.Exec(t.Context(), `SELECT 1`)
	is.NoErr(err)
	is.Equal(db.trips.n.Load()-before, int64(2))
}
