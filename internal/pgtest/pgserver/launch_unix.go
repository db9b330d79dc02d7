//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
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
	if set.primary != nil {
		err = set.primary.copyTo(ctx, in, f)
	} else {
		err = c.provide(ctx, in, f)
	}
	if err != nil {
		return nil, fmt.Errorf("making a data directory: %w", err)
	}
	if err := configure(f.path, set); err != nil {
		return nil, fmt.Errorf("configuring the server: %w", err)
	}
	if err := f.begin(); err != nil {
		return nil, err
	}
	if err := ready(ctx, f, in, 0); err != nil {
		if ctx.Err() == nil && len(set.config) == 0 && set.primary == nil {
			// Perhaps the cached data directory is at fault, as after a crash of the machine.
			err = errors.Join(err, c.forget(in))
		}
		return nil, err
	}
	if err := unsetLeaking(); err != nil {
		return nil, err
	}
	s := &Server{
		bin:     in.bin,
		dsn:     dsnIn(f.path, set.socketPort()),
		stop:    f.end,
		restart: func(ctx context.Context) error { return restart(ctx, f, in) },
	}
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

func restart(ctx context.Context, f *folder, in installation) error {
	before, err := postmaster(f)
	if err != nil {
		return err
	}
	if err := f.begin(); err != nil {
		return err
	}
	if err := f.forgotten(ctx); err != nil {
		return err
	}
	return ready(ctx, f, in, before)
}

// ready waits until the server accepts connections, which it says in its pid file, for pg_ctl to see. The one with the pid
// before is not meant.
func ready(ctx context.Context, f *folder, in installation, before int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("not ready after %v", startLimit))
	defer cancel()
	return f.await(ctx, "postgres in "+in.bin, func() bool {
		lines, err := pidFile(f)
		if err != nil || len(lines) <= 7 || strings.TrimSpace(lines[7]) != "ready" {
			return false
		}
		pid, err := strconv.Atoi(lines[0])
		return err == nil && pid != before
	})
}

// postmaster is the pid of the server that runs, 0 where none does.
func postmaster(f *folder) (int, error) {
	lines, err := pidFile(f)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(lines[0])
}

func pidFile(f *folder) (lines []string, err error) {
	text, err := os.ReadFile(filepath.Join(f.path, dataName, "postmaster.pid"))
	return strings.Split(string(text), "\n"), err
}

func dsnIn(dir string, port int) string {
	q := url.Values{
		"host":                 {dir},
		"port":                 {strconv.Itoa(port)},
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
