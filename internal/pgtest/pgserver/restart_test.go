//go:build unix && !aix && !solaris

package pgserver

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
)

func TestRestart_KeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	s, err := start(t.Context(), m, newSettings(nil))
	is.NoErr(err)
	conn, err := pgx.Connect(t.Context(), s.DSN())
	is.NoErr(err)
	defer conn.Close(t.Context())
	exec := func(conn *pgx.Conn, sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		is.NoErr(err)
	}
	exec(conn, "CREATE TABLE kept ()")
	exec(conn, "INSERT INTO kept DEFAULT VALUES")
	exec(conn, "CHECKPOINT") // the quick server does not sync its log

	for range 3 {
		is.NoErr(s.Restart(t.Context()))
		_, err = conn.Exec(t.Context(), "SELECT")
		is.True(err != nil) // the connection went with the server
		conn, err = pgx.Connect(t.Context(), s.DSN())
		is.NoErr(err)
		defer conn.Close(t.Context())
		var n int
		is.NoErr(conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n))
		is.Equal(n, 1)
	}
	is.NoErr(s.Close())
	is.Equal(len(folders(t, place)), 0)
}

func TestRestart_StartsAServerThatHasEnded(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, _ := testMachine(t, nil)
	s, err := start(t.Context(), m, newSettings(nil))
	is.NoErr(err)
	defer func() { is.NoErr(s.Close()) }()
	conn, err := pgx.Connect(t.Context(), s.DSN())
	is.NoErr(err)
	defer conn.Close(t.Context())
	// The superuser can end the server without a signal of ours.
	_, _ = conn.Exec(t.Context(), `COPY (SELECT) TO PROGRAM 'kill -QUIT $(head -n 1 postmaster.pid)'`)
	eventually(t, "the server has ended", func() bool {
		c, err := pgx.Connect(t.Context(), s.DSN())
		if err == nil {
			_ = c.Close(t.Context())
		}
		return err != nil
	})
	is.NoErr(s.Restart(t.Context()))
	is.Equal(show(t.Context(), t, s.DSN(), "timezone"), []string{"UTC"})
}

func TestOnPort_TakesConnectionsThereToo(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	port, err := FreePort()
	is.NoErr(err)

	m, _ := testMachine(t, nil)
	s, err := start(t.Context(), m, newSettings([]Option{OnPort(port)}))
	is.NoErr(err)
	defer func() { is.NoErr(s.Close()) }()
	for _, dsn := range []string{s.DSN(), fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", port)} {
		is.Equal(show(t.Context(), t, dsn, "port"), []string{strconv.Itoa(port)})
	}

	_, err = start(t.Context(), m, newSettings([]Option{OnPort(65536)}))
	is.True(err != nil)
}
