//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
)

// databases are those on the server at dsn.
func databases(ctx context.Context, t *testing.T, dsn string) []string {
	t.Helper()
	is := is.New(t)
	conn, err := pgx.Connect(ctx, dsn)
	is.NoErr(err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database")
	is.NoErr(err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	is.NoErr(err)
	return names
}

func TestStart_TakesTheServerAtDatabaseURL(t *testing.T) {
	t.Parallel()
	own := testServer(t) // to stand for somebody else's
	for name, url := range map[string]string{
		"AsURL":      own.DSN(),
		"AsKeywords": "host=" + folderOf(own) + " user=postgres dbname=postgres sslmode=disable",
		"AsQuery":    "postgresql:///?user=postgres&database=postgres&host=" + folderOf(own),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			m, place := testMachine(t, map[string]string{"DATABASE_URL": url, "LETTERBOX_PG_BIN": "/nonexistent"})
			s, err := start(t.Context(), m, settings{})
			is.NoErr(err)
			is.Equal(s.DSN(), url)
			is.True(strings.Contains(s.Origin(), "at DATABASE_URL"))
			dsn, drop, err := s.CreateDatabase(t.Context(), "CREATE TABLE t ()")
			is.NoErr(err)
			is.NoErr(execSQL(t.Context(), dsn, "SELECT FROM t"))
			c, err := pgx.ParseConfig(dsn)
			is.NoErr(err)
			is.True(slices.Contains(databases(t.Context(), t, url), c.Database))
			is.NoErr(drop(t.Context()))
			is.True(!slices.Contains(databases(t.Context(), t, url), c.Database)) // and there was no template
			is.NoErr(s.Close())
			is.NoErr(execSQL(t.Context(), url, "SELECT 1")) // it is not ours to end
			is.Equal(len(folders(t, place)), 0)
		})
	}

	// Not in parallel, so before the others, whose starts would drop a database before we are connected to it.
	t.Run("AndDropsOnlyStaleDatabasesOfOurs", func(t *testing.T) {
		is := is.New(t)
		now := time.Now().UTC()
		stale := prefix + now.Add(-staleAfter-2*time.Hour).Format(hour) + "_a"
		used := prefix + now.Add(-staleAfter-2*time.Hour).Format(hour) + "_b"
		others := []string{prefix + now.Format(hour) + "_c", prefix + "notes", "letterbox"}
		for _, name := range append([]string{stale, used}, others...) {
			is.NoErr(execSQL(t.Context(), own.DSN(), "CREATE DATABASE "+quote(name)))
			if name == used {
				dsn, err := own.dsnOf(used)
				is.NoErr(err)
				conn, err := pgx.Connect(t.Context(), dsn)
				is.NoErr(err)
				defer conn.Close(t.Context())
			}
		}
		m, _ := testMachine(t, map[string]string{"DATABASE_URL": own.DSN()})
		_, err := start(t.Context(), m, settings{})
		is.NoErr(err)
		left := databases(t.Context(), t, own.DSN())
		is.True(!slices.Contains(left, stale))
		for _, name := range append(others, used) {
			is.True(slices.Contains(left, name))
		}
	})

	t.Run("AndChecksWhatItCannotConfigure", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		m, _ := testMachine(t, map[string]string{"DATABASE_URL": own.DSN()})
		_, err := start(t.Context(), m, newSettings([]Option{Config("max_connections", "200"), Config("work_mem", "4MB")}))
		is.NoErr(err)
		_, err = start(t.Context(), m, newSettings([]Option{Config("max_connections", "7")}))
		is.True(err != nil && strings.Contains(err.Error(), "max_connections = 200, wanted 7"))
		_, err = start(t.Context(), m, newSettings([]Option{Durable()}))
		is.True(err != nil && strings.Contains(err.Error(), "fsync = off, wanted on"))
	})
}

func TestStart_UnreachableDatabaseURLIsAnError(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://me:secret@/db?host=/nonexistent",
		"postgres://me:secret@127.0.0.1:1/db",
		"postgres://me:secret@127.0.0.1:port/db",
		"secret=", // not even a connection string
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			m, place := testMachine(t, map[string]string{"DATABASE_URL": url})
			s, err := start(t.Context(), m, settings{})
			is.True(err != nil)
			is.True(s == nil)
			is.True(strings.Contains(err.Error(), "DATABASE_URL"))
			is.True(!strings.Contains(err.Error(), ":secret"))
			is.Equal(len(folders(t, place)), 0) // and no server of our own
		})
	}
}
