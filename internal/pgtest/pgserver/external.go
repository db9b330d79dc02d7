package pgserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// connectLimit bounds the first connection to DATABASE_URL, so that a host that does not answer is an error long before
// go test gives up. A server under load answers well within it.
const connectLimit = 10 * time.Second

// connect takes the server at DATABASE_URL.
func connect(ctx context.Context, url string, set settings) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connecting to DATABASE_URL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	s := &Server{dsn: url, external: true, stop: func() error { return nil }}
	if err := s.identify(ctx, conn); err != nil {
		return nil, err
	}
	if err := verify(ctx, conn, set); err != nil {
		return nil, err
	}
	if err := dropStale(ctx, conn); err != nil {
		return nil, err
	}
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
