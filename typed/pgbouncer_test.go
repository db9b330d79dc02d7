//go:build unix

package typed_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// bouncer connects to the database through a PgBouncer in transaction mode.
func bouncer(t *testing.T, db *pgtest.DB) *pgxpool.Pool {
	t.Helper()
	through, err := pgx.ParseConfig(db.Bouncer(t))
	if err != nil {
		t.Fatal(err)
	}
	return db.Connect(t, func(c *pgxpool.Config) {
		c.ConnConfig.Host, c.ConnConfig.Port = through.Host, through.Port
		c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = nil, nil
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	})
}

func TestConnect_ThroughPgBouncer(t *testing.T) {
	t.Parallel()
	t.Run("poll only", func(t *testing.T) {
		t.Parallel()
		db := newDB(t)
		pool := bouncer(t, db)
		wholeLife(t, pool, pool, queue.NoListen(), queue.BlindPollInterval(20*time.Millisecond))
		leftBehind(t, db.Pool)
	})
	t.Run("listening on a connection of its own", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		db := newDB(t)
		pool := bouncer(t, db)
		direct, err := pgx.ParseConfig(db.DSN)
		is.NoErr(err)
		// No poll comes in time: what is handled was notified.
		wholeLife(t, pool, pool, queue.ListenOn(direct), queue.PollInterval(time.Hour), queue.BlindPollInterval(time.Hour))
		leftBehind(t, db.Pool)
	})
}
