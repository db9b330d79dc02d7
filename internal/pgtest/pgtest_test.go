package pgtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

func TestNew_GivesEachTestItsOwnDatabase(t *testing.T) {
	t.Parallel()
	const schema = "CREATE TABLE a (n int); INSERT INTO a VALUES (1)"
	for _, name := range []string{"A", "B", "C", "D"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema(schema))
			var before int
			is.NoErr(db.Pool.QueryRow(t.Context(), "INSERT INTO a VALUES (2) RETURNING (SELECT count(*) FROM a)").Scan(&before))
			is.Equal(before, 1)
		})
	}
}

func TestNew_CleansUpAtTheTestsEnd(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var name string
	var pools []*pgxpool.Pool
	t.Run("Inner", func(t *testing.T) {
		is := is.New(t)
		db := pgtest.New(t)
		pools = append(pools, db.Pool, db.Connect(t))
		for _, pool := range pools {
			is.NoErr(pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&name))
		}
	})
	for _, pool := range pools {
		is.True(pool.Ping(t.Context()) != nil) // closed
	}
	var exists bool
	const query = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
	is.NoErr(pgtest.New(t).Pool.QueryRow(t.Context(), query, name).Scan(&exists))
	is.True(!exists)
}

func TestDB_ConnectConfiguresThePool(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	pool := pgtest.New(t).Connect(t, func(c *pgxpool.Config) {
		c.MaxConns = 1
		c.ConnConfig.RuntimeParams["application_name"] = "further"
	})
	is.Equal(pool.Config().MaxConns, int32(1))
	var name string
	is.NoErr(pool.QueryRow(t.Context(), "SHOW application_name").Scan(&name))
	is.Equal(name, "further")
}

func TestDB_DSNFitsDatabaseSQL(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db, err := sql.Open("pgx", pgtest.New(t, pgtest.Schema("CREATE TABLE a ()")).DSN)
	is.NoErr(err)
	defer func() { is.NoErr(db.Close()) }()
	var n int
	is.NoErr(db.QueryRowContext(t.Context(), "SELECT count(*) FROM a").Scan(&n))
}

func TestNew_OnTheServerAskedFor(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	another, err := pgserver.Start(t.Context())
	is.NoErr(err)
	t.Cleanup(func() {
		if err := another.Close(); err != nil {
			t.Error(err)
		}
	})
	host := func(dsn string) string {
		c, err := pgx.ParseConfig(dsn)
		is.NoErr(err)
		return c.Host
	}
	is.Equal(host(pgtest.New(t, pgtest.On(another)).DSN), host(another.DSN()))

	server, err := pgtest.Server()
	is.NoErr(err)
	is.Equal(host(pgtest.New(t).DSN), host(server.DSN()))
}

// recorder is a test that keeps what New says when it fails.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper() {}

func (r *recorder) Context() context.Context { return context.Background() }

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestNew_FailsTheTestOnABadSchema(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		pgtest.New(r, pgtest.Schema("CREATE NONSENSE"))
	}()
	<-ended
	is.True(strings.Contains(r.said, `syntax error at or near "NONSENSE"`))
}
