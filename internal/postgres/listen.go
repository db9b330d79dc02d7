package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// Timing of the listening connection.
const (
	// pingAfter is how long the connection may be silent before it is asked
	// whether it still lives: a router that forgot it tells nobody.
	pingAfter = 60 * time.Second
	pingWait  = 10 * time.Second
	// Backoff between tries to connect.
	firstReconnect = 100 * time.Millisecond
	maxReconnect   = 10 * time.Second
)

// Listener keeps one connection that LISTENs, whatever happens to it.
type Listener struct {
	Config   *pgx.ConnConfig
	Channels []string
	// Notified is called for each notification, Listening on each change of
	// whether any can come. Both are called from Run's goroutine.
	Notified  func(channel, payload string)
	Listening func(bool)
	Log       *slog.Logger
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
	conn, err := pgx.ConnectConfig(connect, l.Config.Copy())
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
	ready()
	for {
		wait, cancel := context.WithTimeout(ctx, pingAfter)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			l.Notified(n.Channel, n.Payload)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded) && !conn.IsClosed():
			ping, cancel := context.WithTimeout(ctx, pingWait)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		default:
			return err
		}
	}
}
