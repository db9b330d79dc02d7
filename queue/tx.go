package queue

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
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
func SQL(tx *sql.Tx) Tx { return access.SQL(tx) }

// DB is what [Autocommit] publishes on: a *pgxpool.Pool or a *pgx.Conn.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Autocommit publishes outside any transaction of the caller's: each call
// commits by itself, all its messages or none. Use it where there is nothing to
// be atomic with. Commit and Rollback of the value it returns do nothing.
func Autocommit(db DB) Tx { return access.Autocommit(db) }
