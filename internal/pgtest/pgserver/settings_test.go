//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
)

// show asks for parameters of the server at dsn.
func show(ctx context.Context, t *testing.T, dsn string, names ...string) []string {
	t.Helper()
	is := is.New(t)
	conn, err := pgx.Connect(ctx, dsn)
	is.NoErr(err)
	defer conn.Close(ctx)
	values := make([]string, len(names))
	for i, name := range names {
		is.NoErr(conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&values[i]))
	}
	return values
}

func TestStart_ConfiguresTheServer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		options []Option
		want    []string // fsync, max_connections, application_name, timezone, listen_addresses
	}{
		{"Quick", nil, []string{"off", "200", "", "UTC", ""}},
		{"Durable", []Option{Durable()}, []string{"on", "100", "", "UTC", ""}},
		{"Config", []Option{
			Config("max_connections", "20"),
			Config("max_connections", "30"),
			Config("application_name", `it's \n`),
		}, []string{"off", "30", `it's \n`, "UTC", ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			m, _ := testMachine(t, nil)
			s, err := start(t.Context(), m, newSettings(test.options))
			is.NoErr(err)
			defer func() { is.NoErr(s.Close()) }()
			got := show(t.Context(), t, s.DSN(), "fsync", "max_connections", "application_name", "timezone", "listen_addresses")
			is.Equal(got, test.want)
			is.True(strings.HasPrefix(s.Origin(), "PostgreSQL "+s.version.String()+" from "))
		})
	}
}

func TestStart_RefusesWhatIsNoParameter(t *testing.T) {
	t.Parallel()
	for _, option := range []Option{Config("", "1"), Config("a b", "1"), Config("port = 1\na", "1"), Config("a", "1'\nport = 1")} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			m, _ := testMachine(t, nil)
			_, err := start(t.Context(), m, newSettings([]Option{option}))
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), "no parameter of postgresql.conf"))
		})
	}
}

func TestStart_IsDeafToTheEnvironment(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, cache := testPlace(t) // cold, for initdb to meet it too
	h := startHelper(t, place, "LETTERBOX_PG_CACHE="+cache,
		"LC_ALL=xx_XX.UTF-8", "LANG=xx_XX", "TZ=Nowhere/Land", "HOME=/nonexistent",
		"PGHOST=192.0.2.1", "PGPORT=1", "PGUSER=nobody", "PGDATABASE=nothing", "PGSSLMODE=verify-full", "PGSSLROOTCERT=/nonexistent",
		"PGOPTIONS=--nonsense=1", "PGSERVICE=none", "PGTARGETSESSIONATTRS=standby", "PGDATA=/nonexistent", "PGTZ=Nowhere/Land",
		"PGREQUIREAUTH=scram-sha-256", "PGCONNECT_TIMEOUT=x")
	is.True(h.folder(t) != "") // it has run a statement
}

func TestFits_AsksForRoomAndAShortPath(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, _ := testPlace(t)
	who, err := serverAccount()
	is.NoErr(err)
	is.NoErr(fits(place, who, false))
	is.True(fits("relative", who, false) != nil)
	is.True(fits(place+"/absent", who, false) != nil)
	is.True(fits(place+"/"+strings.Repeat("x", 80), who, false) != nil)
	if who.other {
		closed := place + "/closed"
		is.NoErr(os.Mkdir(closed, 0o700))
		is.True(fits(closed, who, false) != nil)
	}
	if _, memory, err := space("/dev/shm"); err == nil && memory {
		is.True(fits("/dev/shm", who, true) != nil) // a durable server's data is on a disk
	}
}
