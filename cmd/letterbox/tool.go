package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/term"

	"github.com/letterbox-go/letterbox/queue"
)

// tool is one run of the program: where it reads and writes, and the flags that all commands have.
type tool struct {
	in        io.Reader
	out, errs io.Writer

	dsn     string
	outbox  queue.Outbox
	timeout time.Duration
	noColor bool

	pool  *pgxpool.Pool // nil: not connected
	began bool          // a command's own work has
}

// applicationName is what the connections say they are, in pg_stat_activity.
const applicationName = "letterbox"

// connect opens a pool and waits until the database answers. The tool's close closes it.
func (t *tool) connect(ctx context.Context) (*pgxpool.Pool, error) {
	if _, err := t.outbox.Bind(); err != nil {
		return nil, usageError{err}
	}
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	// It works through a pooler that gives each transaction another session. What a prepared statement would save here is
	// not worth a flag.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	return t.open(ctx, config)
}

// open is connect for a configuration that the command has changed.
func (t *tool) open(ctx context.Context, config *pgxpool.Config) (*pgxpool.Pool, error) {
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	t.pool = pool
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		return nil, fmt.Errorf("connect to the database: %w", t.explain(ctx, err))
	}
	return pool, nil
}

// config is what the flags and the environment say of the database.
func (t *tool) config() (*pgxpool.Config, error) {
	dsn, err := t.source()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, usageError{unreadable(err)}
	}
	config.MaxConns, config.MinConns = 4, 0
	if c := config.ConnConfig; t.timeout > 0 && c.ConnectTimeout == 0 {
		c.ConnectTimeout = t.timeout / time.Duration(hosts(c))
	}
	if _, named := config.ConnConfig.RuntimeParams["application_name"]; !named {
		config.ConnConfig.RuntimeParams["application_name"] = applicationName
	}
	return config, nil
}

// hosts is how many servers a DSN names. Each is there as often as there are ways to talk to it, with TLS and without.
func hosts(c *pgx.ConnConfig) int {
	type server struct {
		host string
		port uint16
	}
	all := map[server]bool{{c.Host, c.Port}: true}
	for _, f := range c.Fallbacks {
		all[server{f.Host, f.Port}] = true
	}
	return len(all)
}

func (t *tool) close() {
	if t.pool != nil {
		t.pool.Close()
	}
}

// look connects, and bounds what follows: for commands that ask, or do, one thing.
func (t *tool) look(ctx context.Context, f func(context.Context, *pgxpool.Pool) error) error {
	pool, err := t.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	return t.explain(ctx, f(ctx, pool))
}

// change is look for one transaction: it commits if f returns nil.
func (t *tool) change(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	return t.look(ctx, func(ctx context.Context, pool *pgxpool.Pool) error {
		return transact(ctx, pool, func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}

// transact commits what f has done in a transaction if f returns nil and ctx goes on. It waits for the commit even if ctx
// ends meanwhile: nobody should be told that something was interrupted that was done.
func transact(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	last := context.WithoutCancel(ctx)
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(last) // does nothing after the commit
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return committed(tx.Commit(last))
}

// errUncertain is a commit that nobody answered.
var errUncertain = errors.New("the connection was lost, and whether it was done is not known")

// committed is the error of a commit, or of a statement that commits by itself. Unless the server has answered, or was never
// reached, it may have done it. pgconn.SafeToRetry does not tell: of a connection that is lost at a commit it says yes.
func committed(err error) error {
	_, answered := errors.AsType[*pgconn.PgError](err)
	_, unreached := errors.AsType[*pgconn.ConnectError](err)
	if err == nil || answered || unreached || errors.Is(err, pgx.ErrTxCommitRollback) {
		return err
	}
	return fmt.Errorf("%w: %w", errUncertain, err)
}

// errTimeout is the end of a context by --timeout.
var errTimeout = errors.New("the database did not answer in time (see --timeout)")

func (t *tool) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, t.timeout, errTimeout)
}

// explain says that it was a signal, or the timeout, that ended what was being done.
func (t *tool) explain(ctx context.Context, err error) error {
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case errors.Is(context.Cause(ctx), errTimeout):
		return fmt.Errorf("%w: %w", errTimeout, err)
	case errors.Is(err, context.Canceled):
		return errInterrupted
	}
	return fmt.Errorf("%w: %w", errInterrupted, err)
}

// queue is the queue of a name.
func (t *tool) queue(name string) (queue.Queue, error) {
	q := queue.New(name).In(t.outbox)
	if err := q.Err(); err != nil {
		return q, usageError{err}
	}
	return q, nil
}

// terminal says whether a stream is one that a person looks at.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}
