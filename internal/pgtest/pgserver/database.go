package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// prefix marks databases as ours. It comes before the hour of creation and a random part.
	prefix = "letterbox_test_"
	// hour is the layout of the hour in a database's name.
	hour = "2006010215"
	// dropLimit bounds the drop of a database. PostgreSQL itself waits 5 s for the connections that it ends.
	dropLimit = 30 * time.Second
)

// CreateDatabase creates a database with a name of our own and runs the statements of schema in it; with "" it is empty.
// It returns the database's DSN and a function that drops it, also while others are connected to it.
//
// On a server of our own the statements run once per distinct schema, in a template of which further databases are
// copies: that takes tens of milliseconds. A schema that fails gives every caller the same error. Safe for concurrent use.
func (s *Server) CreateDatabase(ctx context.Context, schema string) (dsn string, drop func(context.Context) error, err error) {
	name, err := s.createDatabase(ctx, schema)
	if err != nil {
		return "", nil, fmt.Errorf("pgserver: creating a database: %w", err)
	}
	drop = func(ctx context.Context) error {
		if err := s.drop(ctx, name); err != nil {
			return fmt.Errorf("pgserver: dropping database %s: %w", name, err)
		}
		return nil
	}
	dsn, err = s.dsnOf(name)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("pgserver: %w", err), drop(ctx))
	}
	return dsn, drop, nil
}

func (s *Server) createDatabase(ctx context.Context, schema string) (name string, err error) {
	switch {
	case schema == "":
		return s.copyDatabase(ctx, "template0") // nobody can be connected to it, so it is never in use
	case s.external:
		// A template would outlive a killed test run, and here nothing but us would clean up.
		return s.fill(ctx, schema)
	}
	template, err := s.template(ctx, schema)
	if err != nil {
		return "", fmt.Errorf("in its template: %w", err)
	}
	return s.copyDatabase(ctx, template)
}

// template is the name of the one database made from schema.
func (s *Server) template(ctx context.Context, schema string) (name string, err error) {
	s.mu.Lock()
	once, ok := s.templates[schema]
	if !ok {
		// Others wait for this result, so the first caller giving up must not fail them.
		ctx := context.WithoutCancel(ctx)
		once = sync.OnceValues(func() (string, error) { return s.fill(ctx, schema) })
		if s.templates == nil {
			s.templates = make(map[string]func() (string, error))
		}
		s.templates[schema] = once
	}
	s.mu.Unlock()
	return once()
}

// fill makes a database and runs schema in it. Its connection is closed on return, as a template's must be.
func (s *Server) fill(ctx context.Context, schema string) (name string, err error) {
	name, err = s.copyDatabase(ctx, "template0")
	if err != nil {
		return "", err
	}
	dsn, err := s.dsnOf(name)
	if err != nil {
		return "", errors.Join(err, s.drop(ctx, name))
	}
	if err := execSQL(ctx, dsn, schema); err != nil {
		return "", errors.Join(fmt.Errorf("running its schema: %w", err), s.drop(ctx, name))
	}
	return name, nil
}

func (s *Server) copyDatabase(ctx context.Context, template string) (name string, err error) {
	name = prefix + time.Now().UTC().Format(hour) + "_" + strings.ToLower(rand.Text()[:12])
	sql := "CREATE DATABASE " + quote(name) + " TEMPLATE " + quote(template)
	if s.version.major >= 15 {
		// Copying files takes a fraction of the time of logging every page, for databases this small. Servers before 15
		// know no other way.
		sql += " STRATEGY file_copy"
	}
	if err := execSQL(ctx, s.dsn, sql); err != nil {
		if ctx.Err() != nil { // a statement that was given up may come to its end all the same
			err = errors.Join(err, s.drop(ctx, name))
		}
		return "", err
	}
	return name, nil
}

// drop drops a database of ours if it exists, also where ctx has ended.
func (s *Server) drop(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropLimit)
	defer cancel()
	return execSQL(ctx, s.dsn, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)")
}

// dsnOf is the server's DSN with another database.
func (s *Server) dsnOf(database string) (string, error) {
	if !strings.HasPrefix(s.dsn, "postgres://") && !strings.HasPrefix(s.dsn, "postgresql://") {
		return s.dsn + " dbname=" + database, nil // keywords and values: the last of a name holds
	}
	u, err := url.Parse(s.dsn)
	if err != nil {
		return "", errors.New("DATABASE_URL is not a valid URL") // the cause would show its password
	}
	u.Path = "/" + database
	if q := u.Query(); q.Has("dbname") || q.Has("database") {
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// execSQL runs the statements of sql on a connection of their own.
func execSQL(ctx context.Context, dsn, sql string) (err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll() // the simple protocol: several statements at once
	return err
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
