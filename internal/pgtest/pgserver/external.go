package pgserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// connectLimit bounds the first connection to DATABASE_URL, so that a host that does not answer is an error long before
// go test gives up. A server under load answers well within it.
const connectLimit = 10 * time.Second

// connect takes the server at DATABASE_URL.
func connect(ctx context.Context, url string, set settings) (_ *Server, err error) {
	if set.port != 0 {
		return nil, errors.New("OnPort: the server at DATABASE_URL is not ours")
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connecting to DATABASE_URL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	s := &Server{dsn: url, external: true, stop: func() error { return nil }}
	if err := s.identify(ctx, conn); err != nil {
		return nil, err
	}
	if err := verify(ctx, conn, set); err != nil {
		return nil, err
	}
	s.dropStale(ctx)
	c := conn.Config()
	s.origin = fmt.Sprintf("PostgreSQL %s at DATABASE_URL (%s, port %d)", s.version, c.Host, c.Port)
	return s, nil
}

// verify checks that a server which is not ours to configure has what the options ask for.
func verify(ctx context.Context, conn *pgx.Conn, set settings) error {
	wanted := make(map[string]string)
	if set.durable {
		wanted["fsync"] = "on"
	}
	for _, p := range set.config {
		wanted[p.name] = p.value
	}
	var errs []error
	for name, value := range wanted {
		var has string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&has); err != nil {
			return fmt.Errorf("asking for %s: %w", name, err)
		}
		if has != value {
			errs = append(errs, fmt.Errorf("the server at DATABASE_URL has %s = %s, wanted %s", name, has, value))
		}
	}
	return errors.Join(errs...)
}

// staleAfter is the age from which an unused database of ours is taken for one that a killed test run left behind. No test
// run is that long.
const staleAfter = 24 * time.Hour

// dropStale drops databases of ours that nobody uses and that are older than any test run. It never fails: what can't be
// dropped now may be next time, and hinders nobody.
func (s *Server) dropStale(ctx context.Context) {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, `
		SELECT datname
		FROM pg_database d
		WHERE starts_with(datname, $1)
		  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)`, prefix)
	if err != nil {
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return
	}
	for _, name := range names {
		created, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "_")
		at, err := time.Parse(hour, created)
		if err == nil && time.Since(at) > staleAfter {
			// Without FORCE: somebody may have connected to it just now.
			_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name))
		}
	}
}
