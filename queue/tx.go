package queue

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Tx is the caller's transaction, in which a message is published: the message
// exists if and only if it commits. A pgx.Tx and a *pgxpool.Tx are one as they
// are; a *sql.Tx becomes one with [SQL]. A pool, a connection and a *sql.DB are
// not, and do not compile; where that is really meant, see [Autocommit].
//
// Publishing calls QueryRow only, and CopyFrom where the value has it and the
// batch is large. It never ends the transaction.
type Tx interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// SQL makes a [Tx] of a *sql.Tx of any PostgreSQL driver, which is also what
// GORM, ent, bun and sqlx have inside. A nil tx is reported by the publish.
func SQL(tx *sql.Tx) Tx { return sqlTx{tx} }

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

func (t sqlTx) Commit(context.Context) error   { return t.tx.Commit() }
func (t sqlTx) Rollback(context.Context) error { return t.tx.Rollback() }

// DB is what [Autocommit] publishes on: a *pgxpool.Pool or a *pgx.Conn.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Autocommit publishes outside any transaction of the caller's: each call
// commits by itself, all its messages or none. Use it where there is nothing to
// be atomic with. Commit and Rollback of the value it returns do nothing.
func Autocommit(db DB) Tx { return autocommit{db} }

type autocommit struct{ DB }

func (autocommit) Commit(context.Context) error   { return nil }
func (autocommit) Rollback(context.Context) error { return nil }

// CheckTx is [ErrNoTransaction] where tx is nil, or holds nil: what the compiler
// cannot catch. It is for those who write in a transaction beside this package.
func CheckTx(tx Tx) error {
	missing := tx == nil
	switch x := tx.(type) {
	case sqlTx:
		missing = x.tx == nil
	case *pgxpool.Tx:
		missing = x == nil
	case autocommit:
		switch db := x.DB.(type) {
		case nil:
			missing = true
		case *pgxpool.Pool:
			missing = db == nil
		case *pgx.Conn:
			missing = db == nil
		}
	}
	if missing {
		return ErrNoTransaction
	}
	return nil
}

// write publishes drafts of one table in tx.
func write(ctx context.Context, tx Tx, t *postgres.Table, drafts []store.Draft) (ids []int64, err error) {
	if err := CheckTx(tx); err != nil {
		return nil, err
	}
	if x, ok := tx.(autocommit); ok && (isMemory(x.DB) || !postgres.FitsOneStatement(drafts)) {
		err = pgx.BeginFunc(ctx, x.DB, func(tx pgx.Tx) error {
			ids, err = write(ctx, tx, t, drafts)
			return err
		})
		return ids, err
	}
	if v, ok := inMemory(tx, t); ok {
		return v.Publish(ctx, drafts)
	}
	return t.Publish(ctx, tx, drafts)
}
