package queue

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Outbox says where messages live: it is nothing but names. The zero value is
// the table "outbox" with the dead-letter table "outbox_dlq", found through the
// connection's search_path.
type Outbox struct {
	// Schema is the schema of both tables. It must exist. Empty: search_path.
	Schema string
	// Table is the queue table; empty: "outbox". With the longest of the names
	// that derive from it (Table + "_pending_idx") it must fit in 63 bytes.
	Table string
	// DeadLetters is the dead-letter table; empty: Table + "_dlq". With
	// "_queue_failed_idx" behind it, it must fit in 63 bytes.
	DeadLetters string
}

// bind checks the names.
func (o Outbox) bind() (*postgres.Table, error) { return postgres.Bind(postgres.Names(o)) }

// Beginner starts a transaction: a *pgxpool.Pool or a *pgx.Conn. A pgx.Tx does
// too; then the work is a savepoint in it.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Create creates both tables, their indexes and settings, in one transaction.
// What is there already is left as it is, so it can be called at each start;
// processes that start together take turns.
func (o Outbox) Create(ctx context.Context, db Beginner) error {
	t, err := o.bind()
	if err != nil {
		return err
	}
	return t.Create(ctx, db)
}

// SQL returns the statements that [Outbox.Create] runs, for a migration tool.
// Names are quoted in it. The error lists what is wrong with them.
func (o Outbox) SQL() (string, error) {
	t, err := o.bind()
	if err != nil {
		return "", err
	}
	return t.Schema(), nil
}
