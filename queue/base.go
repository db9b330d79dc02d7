package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// base is what a worker stands on: PostgreSQL, or an outbox in memory.
type base interface {
	// check says what is wrong with it, and what of the settings it cannot do.
	check(*workerSettings) error
	// connect opens what a worker's engines need, for so many tables.
	connect(ctx context.Context, tables int) (link, error)
	// ground is a table as the transactions of handlers work on it.
	ground(*postgres.Table) ground
	// db is for what runs in the background.
	db() access.Pool
}

// link is a base while a worker runs on it.
type link interface {
	store(*postgres.Table) store.Store
	// sleeper tells publishers who sleeps; nil: they need not know.
	sleeper(*postgres.Table) lease.Sleeper
	// listen wakes the engines, which are those of the groups, until ctx ends.
	listen(ctx context.Context, set *workerSettings, groups []group, engines []*lease.Engine)
	close()
}

// ground is a table with transactions that handlers write in.
type ground interface {
	begin(context.Context) (pgx.Tx, error)
	// Leased reports whether the row holds the token.
	Leased(ctx context.Context, tx pgx.Tx, l store.Lease) (bool, error)
	AckIn(ctx context.Context, tx pgx.Tx, l store.Lease) (bool, error)

	// beginHeld begins a transaction that holds rows; idle is how long it may sit
	// between two statements.
	beginHeld(ctx context.Context, idle time.Duration) (pgx.Tx, error)
	Hold(ctx context.Context, tx pgx.Tx, c store.Claim) (store.Batch, error)
	HoldAgain(ctx context.Context, tx pgx.Tx, c *store.Claimed) (bool, error)
	UndoWork(ctx context.Context, tx pgx.Tx) error
	KeepWork(ctx context.Context, tx pgx.Tx) error
	BuryIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) error
	SettleIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) ([]int64, error)

	// broken says whether a statement has failed, and with it the transaction.
	broken(pgx.Tx) bool
	// busy says whether the answer to a statement has not been read to its end: no
	// other can be sent.
	busy(pgx.Tx) bool
	// ended is what the server said when it ended the transaction by itself; nil
	// where it has not.
	ended(tx pgx.Tx) error
	// giveUp closes the connection of a transaction that failed for its server
	// takes no writes, so that the pool opens another, and reports whether that
	// was so.
	giveUp(ctx context.Context, tx pgx.Tx, err error) bool
}

// onPostgres is the base of [NewWorker].
type onPostgres struct{ pool *pgxpool.Pool }

func (p onPostgres) check(*workerSettings) error {
	if p.pool == nil {
		return errors.New("the pool is nil")
	}
	return nil
}

func (p onPostgres) db() access.Pool { return p.pool }

func (p onPostgres) ground(t *postgres.Table) ground { return pgGround{t, p.pool} }

// connect opens a pool: the worker's statements must not wait for connections
// that handlers hold.
func (p onPostgres) connect(ctx context.Context, tables int) (link, error) {
	config := p.pool.Config()
	config.MinConns, config.MinIdleConns = 0, 0
	config.MaxConns = int32(4 * tables) // two exchanges, an extension, dead letters
	own, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, fmt.Errorf("open its connections: %w", err)
	}
	return &pgLink{own: own, config: p.pool.Config()}, nil
}

type pgLink struct {
	own      *pgxpool.Pool
	config   *pgxpool.Config // of the worker's pool
	listener postgres.Listener
}

func (l *pgLink) close() { l.own.Close() }

func (l *pgLink) store(t *postgres.Table) store.Store { return postgres.NewStore(t, l.own) }

func (l *pgLink) sleeper(t *postgres.Table) lease.Sleeper {
	return postgres.Sleeper{Listener: &l.listener, Channel: t.Channel()}
}

func (l *pgLink) listen(ctx context.Context, set *workerSettings, groups []group, engines []*lease.Engine) {
	byChannel := map[string][]*lease.Engine{}
	var woken []*lease.Engine // where nobody notifies, listening helps nobody
	for i, g := range groups {
		if g.notify == NotifyNever {
			continue
		}
		woken = append(woken, engines[i])
		byChannel[g.table.Channel()] = append(byChannel[g.table.Channel()], engines[i])
	}
	l.listener.Config = set.listenConfig
	if l.listener.Config == nil {
		l.listener.Config, l.listener.BeforeConnect = l.config.ConnConfig, l.config.BeforeConnect
	}
	l.listener.Log = set.log
	l.listener.Notified = func(channel, queue string) {
		for _, e := range byChannel[channel] {
			e.Wake(queue)
		}
	}
	l.listener.Listening = func(yes bool) {
		for _, e := range woken {
			e.SetListening(yes)
			if yes { // what was notified before is not known
				e.WakeAll()
			}
		}
	}
	for channel := range byChannel {
		l.listener.Channels = append(l.listener.Channels, channel)
	}
	l.listener.Run(ctx)
}

type pgGround struct {
	*postgres.Table
	pool *pgxpool.Pool
}

func (g pgGround) begin(ctx context.Context) (pgx.Tx, error) { return g.pool.Begin(ctx) }

func (g pgGround) beginHeld(ctx context.Context, idle time.Duration) (pgx.Tx, error) {
	return g.pool.BeginTx(ctx, postgres.HeldTx(idle))
}

func (pgGround) broken(tx pgx.Tx) bool { return tx.Conn().PgConn().TxStatus() == 'E' }

func (pgGround) busy(tx pgx.Tx) bool { return tx.Conn().PgConn().IsBusy() }

func (pgGround) ended(tx pgx.Tx) error { return postgres.Ended(tx) }

func (pgGround) giveUp(ctx context.Context, tx pgx.Tx, err error) bool {
	if !postgres.IsReadOnly(err) {
		return false
	}
	_ = tx.Conn().Close(ctx) // it is of no use either way
	return true
}
