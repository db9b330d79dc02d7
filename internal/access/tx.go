package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Errors that package queue gives to its users.
var (
	ErrNoTransaction = errors.New("no transaction")
	ErrTxOwned       = errors.New("the worker commits when the handler returns nil, and rolls back when it returns an error")
)

// Tx is a transaction.
type Tx interface {
	postgres.Rower
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// DB begins transactions.
type DB interface {
	postgres.Rower
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Pool is what a worker works on: a pool, or an outbox in memory.
type Pool interface {
	DB
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// SQL is a *sql.Tx as a [Tx].
func SQL(tx *sql.Tx) Tx { return sqlTx{tx} }

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

func (t sqlTx) Commit(context.Context) error   { return t.tx.Commit() }
func (t sqlTx) Rollback(context.Context) error { return t.tx.Rollback() }

// Autocommit is a [Tx] of which each call commits by itself.
func Autocommit(db DB) Tx { return autocommit{db} }

type autocommit struct{ DB }

func (autocommit) Commit(context.Context) error   { return nil }
func (autocommit) Rollback(context.Context) error { return nil }

// Owned is tx for a handler that may write in it but not end it.
func Owned(tx pgx.Tx) pgx.Tx { return ownedTx{tx} }

type ownedTx struct{ pgx.Tx }

func (ownedTx) Commit(context.Context) error   { return ErrTxOwned }
func (ownedTx) Rollback(context.Context) error { return ErrTxOwned }

// CheckTx is [ErrNoTransaction] where tx is nil, or holds nil: what the compiler
// cannot catch.
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

// CheckReader is [ErrNoTransaction] where db, a transaction or not, is nil or holds
// nil.
func CheckReader(db postgres.Rower) error {
	missing := db == nil
	switch x := db.(type) {
	case *pgxpool.Pool:
		missing = x == nil
	case *pgx.Conn:
		missing = x == nil
	case Tx:
		return CheckTx(x)
	}
	if missing {
		return fmt.Errorf("%w: the database is nil", ErrNoTransaction)
	}
	return nil
}
