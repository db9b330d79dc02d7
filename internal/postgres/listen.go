package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Timing of the listening connection.
const (
	// pingAfter is how long the connection may be silent before it is asked
	// whether it still lives, and takes writes: a router that forgot it tells
	// nobody, and where nobody can publish, nobody notifies.
	pingAfter = 60 * time.Second
	pingWait  = 10 * time.Second
	// Backoff between tries to connect.
	firstReconnect = 100 * time.Millisecond
	maxReconnect   = 10 * time.Second
)

// Listener keeps one connection that LISTENs, whatever happens to it.
type Listener struct {
	Config *pgx.ConnConfig
	// BeforeConnect, where not nil, may change a copy of the configuration before
	// each connect, as a pool's does: a password may be good for minutes.
	BeforeConnect func(context.Context, *pgx.ConnConfig) error
	Channels      []string
	// Notified is called for each notification, Listening on each change of
	// whether any can come. Both are called from Run's goroutine.
	Notified  func(channel, payload string)
	Listening func(bool)
	Log       *slog.Logger

	pingAfter time.Duration // zero: the constant

	turn sync.Mutex // of calls

	mu      sync.Mutex
	waiting *call              // to be made on the connection; nil: none
	nudge   context.CancelFunc // interrupts the wait for a notification; nil: nobody waits
	up      bool
}

// call is something to do on the listening connection.
type call struct {
	do   func(context.Context, *pgx.Conn, map[sleeping]bool) error
	ctx  context.Context
	done chan error
}

// do makes a call on the listening connection and waits for it. One at a time.
func (l *Listener) do(ctx context.Context, f func(context.Context, *pgx.Conn, map[sleeping]bool) error) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	c := &call{do: f, ctx: ctx, done: make(chan error, 1)}
	l.mu.Lock()
	if !l.up {
		l.mu.Unlock()
		return ErrNotListening
	}
	l.waiting = c
	if l.nudge != nil {
		l.nudge()
	}
	l.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done(): // the connection hangs, or is just being asked whether it lives
		return ctx.Err()
	}
}

// setUp says whether calls can be made, and turns a waiting one away if not.
func (l *Listener) setUp(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = up
	if c := l.waiting; c != nil && !up {
		l.waiting = nil
		c.done <- ErrNotListening
	}
}

// wait waits for a notification, or, with neither a notification nor an error,
// for something else to do.
func (l *Listener) wait(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	wait, cancel := context.WithTimeout(ctx, cmp.Or(l.pingAfter, pingAfter))
	defer cancel()
	l.mu.Lock()
	if l.waiting != nil {
		l.mu.Unlock()
		return nil, nil
	}
	l.nudge = cancel
	l.mu.Unlock()
	n, err := conn.WaitForNotification(wait)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nudge = nil
	if err != nil && ctx.Err() == nil && wait.Err() != nil && !conn.IsClosed() {
		if l.waiting != nil {
			return nil, nil
		}
		return nil, errSilent
	}
	return n, err
}

// errSilent says that nothing came for long.
var errSilent = errors.New("silence")

// serve makes the waiting call, if there is one.
func (l *Listener) serve(conn *pgx.Conn, held map[sleeping]bool) error {
	l.mu.Lock()
	c := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if c == nil || c.ctx.Err() != nil { // nobody waits for the answer
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, pingWait)
	defer cancel()
	err := c.do(ctx, conn, held)
	if err == nil {
		err = takesWrites(conn)
	}
	c.done <- err
	return err
}

// Run listens until ctx ends, and connects anew, with backoff, when the
// connection is lost.
func (l *Listener) Run(ctx context.Context) {
	defer l.Listening(false)
	backoff := firstReconnect
	for failing := false; ; {
		began := time.Now()
		err := l.listen(ctx, func() {
			if failing {
				l.Log.Info("listening again")
			}
			failing = false
			l.Listening(true)
		})
		l.Listening(false)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxReconnect {
			backoff = firstReconnect
		}
		level := slog.LevelDebug
		if !failing {
			level = slog.LevelWarn
		}
		failing = true
		l.Log.Log(ctx, level, "cannot listen; polling until the connection is back",
			slog.Any("error", err), slog.Duration("backoff", backoff))
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff/2 + rand.N(backoff/2+1)):
		}
		backoff = min(maxReconnect, 2*backoff)
	}
}

// listen connects and passes notifications on until something fails.
func (l *Listener) listen(ctx context.Context, ready func()) error {
	connect, cancel := context.WithTimeout(ctx, maxReconnect)
	defer cancel()
	config := l.Config.Copy()
	if l.BeforeConnect != nil {
		if err := l.BeforeConnect(connect, config); err != nil {
			return fmt.Errorf("before connecting: %w", err)
		}
	}
	conn, err := pgx.ConnectConfig(connect, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the connection is of no use either way
	}()
	for _, c := range l.Channels {
		if _, err := conn.Exec(connect, "LISTEN "+quote(c)); err != nil {
			return fmt.Errorf("listen on %q: %w", c, err)
		}
	}
	if err := takesWrites(conn); err != nil {
		return err
	}
	l.setUp(true)
	defer l.setUp(false)
	ready()
	held := map[sleeping]bool{}
	for {
		n, err := l.wait(ctx, conn)
		switch {
		case n != nil:
			l.Notified(n.Channel, n.Payload)
		case errors.Is(err, errSilent):
			ping, cancel := context.WithTimeout(ctx, pingWait)
			err := conn.Ping(ping)
			cancel()
			if err == nil {
				err = takesWrites(conn)
			}
			if err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		case err != nil:
			return err
		default:
			if err := l.serve(conn, held); err != nil {
				return err
			}
		}
	}
}

// takesWrites is errNoWrites where the server does not, as far as its last answer
// told: with each, PostgreSQL reports what has changed of this parameter, so that
// asking costs no statement. A standby has refused to LISTEN before.
func takesWrites(conn *pgx.Conn) error {
	if conn.PgConn().ParameterStatus("default_transaction_read_only") == "on" {
		return errNoWrites
	}
	return nil
}
