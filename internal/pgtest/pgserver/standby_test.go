//go:build unix && !aix && !solaris

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/matryer/is"
)

func TestStandbyOf_FollowsThePrimaryUntilItIsPromoted(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	primary, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	defer func() { is.NoErr(primary.Close()) }()
	is.NoErr(execSQL(t.Context(), primary.DSN(), "CREATE TABLE t AS SELECT 1 AS n"))

	standby, err := start(t.Context(), m, newSettings([]Option{StandbyOf(primary)}))
	if errors.Is(err, ErrNoBaseBackup) {
		t.Skip(err)
	}
	is.NoErr(err)
	defer func() { is.NoErr(standby.Close()) }()
	conn, err := pgx.Connect(t.Context(), standby.DSN())
	is.NoErr(err)
	defer conn.Close(t.Context())
	sum := func() (n int) {
		is.NoErr(conn.QueryRow(t.Context(), "SELECT sum(n) FROM t").Scan(&n))
		return n
	}
	is.Equal(sum(), 1) // what was there before
	is.NoErr(execSQL(t.Context(), primary.DSN(), "INSERT INTO t VALUES (2)"))
	eventually(t, "what the primary commits is here", func() bool { return sum() == 3 })
	for _, sql := range []string{"INSERT INTO t VALUES (4)", "LISTEN c"} {
		_, err = conn.Exec(t.Context(), sql)
		var refused *pgconn.PgError
		is.True(errors.As(err, &refused))
		is.Equal(refused.Code, "25006")
	}

	is.NoErr(primary.Close())
	is.NoErr(execSQL(t.Context(), standby.DSN(), "SELECT pg_promote()"))
	_, err = conn.Exec(t.Context(), "INSERT INTO t VALUES (4)")
	is.NoErr(err)
	is.Equal(sum(), 7)
	is.NoErr(standby.Close())
	is.Equal(len(folders(t, place)), 0)
}

func TestStandbyOf_IsRefused(t *testing.T) {
	t.Parallel()
	t.Run("OfAServerThatIsNotOurs", func(t *testing.T) {
		t.Parallel()
		m, _ := testMachine(t, nil)
		_, err := start(t.Context(), m, newSettings([]Option{StandbyOf(&Server{external: true})}))
		is.New(t).True(strings.HasPrefix(fmt.Sprint(err), "pgserver: StandbyOf: "))
	})
	t.Run("WithoutPgBasebackup", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		m, place := testMachine(t, nil)
		primary, err := start(t.Context(), m, settings{})
		is.NoErr(err)
		bin := filepath.Join(place, "bin")
		is.NoErr(os.Mkdir(bin, 0o755))
		for _, name := range []string{"postgres", "initdb"} {
			is.NoErr(os.Symlink(filepath.Join(primary.bin, name), filepath.Join(bin, name)))
		}
		primary.bin = bin
		_, err = start(t.Context(), m, newSettings([]Option{StandbyOf(primary)}))
		is.True(errors.Is(err, ErrNoBaseBackup))
		is.NoErr(primary.Close())
		is.Equal(len(folders(t, place)), 0) // not the standby's either
	})
}
