//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// startLimit bounds the start of a server that has its data directory: half a second as a rule, more on a machine that
// runs as many tests as it can.
const startLimit = time.Minute

// launch finds server binaries and starts a server of our own from them.
func launch(ctx context.Context, m machine, set settings) (_ *Server, err error) {
	who, err := serverAccount()
	if err != nil {
		return nil, err
	}
	c, err := openCache(m, who)
	if err != nil {
		return nil, err
	}
	in, err := (&finder{machine: m, who: who}).find(ctx, set, c)
	if err != nil {
		return nil, err
	}
	f, err := serverFolder(m.places(set.durable), who, set.durable, func(dir string) []string {
		return []string{filepath.Join(in.bin, "postgres"), "-D", filepath.Join(dir, dataName)}
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.end())
		}
	}()
	if err := c.provide(ctx, in, f); err != nil {
		return nil, fmt.Errorf("making a data directory: %w", err)
	}
	if err := configure(f.path, set); err != nil {
		return nil, fmt.Errorf("configuring the server: %w", err)
	}
	if err := run(ctx, f, in); err != nil {
		if ctx.Err() == nil && len(set.config) == 0 {
			// Perhaps the cached data directory is at fault, as after a crash of the machine.
			err = errors.Join(err, c.forget(in))
		}
		return nil, err
	}
	if err := unsetLeaking(); err != nil {
		return nil, err
	}
	s := &Server{dsn: dsnIn(f.path), stop: f.end}
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return nil, fmt.Errorf("connecting to the server just started: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if err := s.identify(ctx, conn); err != nil {
		return nil, err
	}
	s.origin = fmt.Sprintf("PostgreSQL %s from %s (%s), in %s", s.version, in.bin, in.source, f.path)
	return s, nil
}

// run starts the server and waits until it accepts connections, which it says in its pid file, for pg_ctl to see.
func run(ctx context.Context, f *folder, in installation) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %v", startLimit))
	defer cancel()
	if err := f.begin(); err != nil {
		return err
	}
	return f.await(ctx, "postgres in "+in.bin, func() bool {
		pid, err := os.ReadFile(filepath.Join(f.path, dataName, "postmaster.pid"))
		lines := strings.Split(string(pid), "\n")
		return err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	})
}

func dsnIn(dir string) string {
	q := url.Values{
		"host":                 {dir},
		"port":                 {"5432"},
		"sslmode":              {"disable"},
		"target_session_attrs": {"any"}, // PGTARGETSESSIONATTRS would do its own
	}
	return "postgres://postgres@/postgres?" + q.Encode()
}

// leaking are the variables that pgx reads and the DSN of a server of our own does not override.
var leaking = []string{
	"PGAPPNAME", "PGCHANNELBINDING", "PGCONNECT_TIMEOUT", "PGMAXPROTOCOLVERSION", "PGMINPROTOCOLVERSION", "PGOPTIONS",
	"PGPASSFILE", "PGPASSWORD", "PGREQUIREAUTH", "PGSERVICE", "PGSERVICEFILE", "PGSSLCERT", "PGSSLCERTMODE", "PGSSLKEY",
	"PGSSLNEGOTIATION", "PGSSLPASSWORD", "PGSSLROOTCERT", "PGSSLSNI", "PGTZ",
}

func unsetLeaking() error {
	for _, name := range leaking {
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("unsetting %s: %w", name, err)
		}
	}
	return nil
}
