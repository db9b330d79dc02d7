//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
)

// testServer starts a server for the test.
func testServer(t *testing.T) *Server {
	t.Helper()
	is := is.New(t)
	m, _ := testMachine(t, nil)
	s, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServer_CreateDatabase(t *testing.T) {
	t.Parallel()
	s := testServer(t)

	t.Run("RunsASchemaOnce", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		const schema = "CREATE TABLE made AS SELECT clock_timestamp() AS at; CREATE TABLE other ()"
		var made [6]time.Time
		var wg sync.WaitGroup
		for i := range made {
			wg.Go(func() {
				dsn, drop, err := s.CreateDatabase(t.Context(), schema)
				if err != nil {
					t.Error(err)
					return
				}
				conn, err := pgx.Connect(t.Context(), dsn)
				if err != nil {
					t.Error(err)
					return
				}
				if err := conn.QueryRow(t.Context(), "SELECT at FROM made").Scan(&made[i]); err != nil {
					t.Error(err)
				}
				if err := drop(t.Context()); err != nil { // with the connection still open
					t.Error(err)
				}
				_ = conn.Close(t.Context())
			})
		}
		wg.Wait()
		for _, at := range made {
			is.True(!at.IsZero())
			is.True(at.Equal(made[0]))
		}
	})
	t.Run("GivesEmptyOnesApart", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		a, dropA, err := s.CreateDatabase(t.Context(), "")
		is.NoErr(err)
		b, dropB, err := s.CreateDatabase(t.Context(), "")
		is.NoErr(err)
		is.True(a != b)
		is.NoErr(execSQL(t.Context(), a, "CREATE TABLE t ()"))
		is.NoErr(execSQL(t.Context(), b, "CREATE TABLE t ()"))
		is.NoErr(dropA(t.Context()))
		is.NoErr(dropA(t.Context())) // harmless
		is.NoErr(dropB(t.Context()))
	})
	t.Run("GivesTheErrorOfABadSchema", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		for range 2 {
			_, _, err := s.CreateDatabase(t.Context(), "CREATE TABLE t (); CREATE NONSENSE")
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), "NONSENSE"))
		}
	})
	t.Run("FailsWithItsContext", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := s.CreateDatabase(ctx, "")
		is.True(err != nil)
	})
}
