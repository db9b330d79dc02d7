package pgserver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL server, either started by [Start] or the one at DATABASE_URL. It is safe for concurrent
// use.
type Server struct {
	dsn      string
	origin   string
	bin      string // the folder of its binaries, where it is ours
	version  version
	external bool
	stop     func() error                // ends a server of our own; idempotent
	restart  func(context.Context) error // nil for a server that is not ours

	mu        sync.Mutex
	templates map[string]func() (string, error) // by schema
}

// Start finds a server, starts it where it is to be ours, and returns when it accepts connections: after about half a
// second, longer the first time on a machine. The package's doc has the order of finding. ctx bounds the start only; the
// server runs until Close or until the process ends.
//
// Errors: DATABASE_URL out of reach or without what the options ask for; a named folder without server binaries; no
// server found; a server that did not start, with the end of its log. Nothing is left behind then.
//
// For a server of our own, the process's variables that pgx would read and a DSN can't override (PGOPTIONS, PGSERVICE and
// the like) are unset.
func Start(ctx context.Context, opts ...Option) (*Server, error) {
	return start(ctx, thisMachine(), newSettings(opts))
}

func start(ctx context.Context, m machine, set settings) (*Server, error) {
	err := set.check()
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	if set.primary != nil {
		set.bin = set.primary.bin
	}
	var s *Server
	if url := m.getenv("DATABASE_URL"); url != "" && set.bin == "" {
		s, err = connect(ctx, url, set)
	} else {
		s, err = launch(ctx, m, set)
	}
	if err != nil {
		return nil, fmt.Errorf("pgserver: %w", err)
	}
	return s, nil
}

// DSN is the connection URL of the server's database for administration (postgres, or the one DATABASE_URL names), for
// pgx and for database/sql. Tests leave that database as it is and use [Server.CreateDatabase].
func (s *Server) DSN() string { return s.dsn }

// Origin says in one line, for people, which server this is, its version and where it came from. It holds no password.
func (s *Server) Origin() string { return s.origin }

// Close ends a server of our own at once, whoever is connected, and returns when its processes and its folder are gone. A
// server named by DATABASE_URL is left alone. Further calls wait for the first and return its result.
func (s *Server) Close() error { return s.stop() }

// Restart stops a server of our own as a crash would, in PostgreSQL's immediate mode, and starts it again: it returns when
// that accepts connections, once it has recovered. Where it had ended by itself, it is started. Every connection is lost. It
// is for tests of what survives, so the server should be [Durable]. A server named by DATABASE_URL is left alone, which is
// an error. Calls at the same time, and with Close, are the caller's to avoid.
func (s *Server) Restart(ctx context.Context) error {
	if s.restart == nil {
		return errors.New("pgserver: restart: the server is not ours")
	}
	if err := s.restart(ctx); err != nil {
		return fmt.Errorf("pgserver: restart: %w", err)
	}
	return nil
}

// identify asks the server for its version.
func (s *Server) identify(ctx context.Context, conn *pgx.Conn) error {
	var text string
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&text); err != nil {
		return fmt.Errorf("asking for the server's version: %w", err)
	}
	v, ok := parseVersion(text)
	if !ok {
		return fmt.Errorf("unknown server version %q", text)
	}
	s.version = v
	return nil
}
