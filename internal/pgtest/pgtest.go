package pgtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

const (
	// startLimit bounds the start of the shared server, a download included.
	startLimit = 5 * time.Minute
	// cleanupLimit bounds what the end of a test waits for connections.
	cleanupLimit = 30 * time.Second
)

// shared is the server of this test binary. It is never closed: it ends with the process.
var shared = sync.OnceValues(func() (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return pgserver.Start(ctx)
})

// Server is the server that all tests of this binary share, started by the first call. Its error is the same for all. It
// is for what has no testing.TB, such as an example; nobody may close it. Safe for concurrent use.
func Server() (*pgserver.Server, error) { return shared() }

// An Option changes what [New] makes.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	schema string
	server *pgserver.Server
}

// Schema runs the statements of sql in the new database. They run once per distinct sql in a template that is copied, so
// tests that share a schema should share the very text. The default, and "", is an empty database; the last of several
// holds.
func Schema(sql string) Option {
	return option(func(s *settings) { s.schema = sql })
}

// On makes the database on server, which the caller started and closes, instead of the shared one: for a durable server,
// other settings or another version. The default, and nil, is the shared server; the last of several holds.
func On(server *pgserver.Server) Option {
	return option(func(s *settings) { s.server = server })
}

// DB is a database that belongs to one test. It is safe for concurrent use.
type DB struct {
	DSN  string        // for pgx and for database/sql
	Pool *pgxpool.Pool // closed at the test's end
}

// New creates a database for the test and connects to it. Both go at the test's end. It stops the test where it fails, so
// it must be called on the test's goroutine; parallel tests may call it at the same time.
func New(t testing.TB, opts ...Option) *DB {
	t.Helper()
	var set settings
	for _, o := range opts {
		o.apply(&set)
	}
	server := set.server
	if server == nil {
		var err error
		if server, err = shared(); err != nil {
			t.Fatalf("pgtest: starting a server: %v", err)
		}
	}
	dsn, drop, err := server.CreateDatabase(t.Context(), set.schema)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := drop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("pgtest: %v", err)
		}
		if t.Failed() {
			t.Logf("pgtest: the test ran on %s", server.Origin())
		}
	})
	db := &DB{DSN: dsn}
	db.Pool = db.Connect(t)
	return db
}

// Connect opens a further pool to the database, closed at the end of t. configure may change its settings first. It stops
// the test where it fails.
func (db *DB) Connect(t testing.TB, configure ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.DSN)
	if err != nil {
		t.Fatalf("pgtest: parsing the database's DSN: %v", err)
	}
	for _, c := range configure {
		c(config)
	}
	// Not the test's context: it ends before cleanups, which may still use the pool.
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(t.Context()), config)
	if err != nil {
		t.Fatalf("pgtest: connecting to the database: %v", err)
	}
	t.Cleanup(func() {
		if err := closePool(pool, cleanupLimit); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return pool
}

// closePool closes a pool. A connection that was never given back is an error: Close alone would wait for it for ever.
func closePool(pool *pgxpool.Pool, limit time.Duration) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		pool.Close()
	}()
	select {
	case <-closed:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("closing a pool: %d connections were not released within %v", pool.Stat().AcquiredConns(), limit)
	}
}
