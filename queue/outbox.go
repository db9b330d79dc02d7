package queue

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Outbox says where messages live: names, and a rule of notifying. The zero value is
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
	// Notify says when a publish notifies the workers; the zero value is
	// [NotifySleeping]. All that publish and work on a table should agree.
	Notify Notify
}

// Notify is a rule of when publishing notifies the workers, which LISTEN.
type Notify uint8

const (
	// NotifySleeping notifies only when a worker sleeps, which the publish
	// finds out in its own statement by two advisory locks. NOTIFY takes a lock
	// over the whole database at commit; busy workers do not need it.
	NotifySleeping Notify = iota
	// NotifyAlways notifies on each publish: for tables that are shared with
	// workers of another kind, which do not tell when they sleep, such as
	// faststream-outbox's.
	NotifyAlways
	// NotifyNever leaves it to polling: for two-phase commit, which refuses a
	// transaction that has notified.
	NotifyNever
)

// Bind checks the names. It is for packages timers and dlq, which work on the
// same tables: outside this module, the type cannot be named.
func (o Outbox) Bind() (*postgres.Table, error) {
	t, err := postgres.Bind(postgres.Names{Schema: o.Schema, Table: o.Table, DeadLetters: o.DeadLetters})
	if err != nil {
		return nil, err
	}
	if o.Notify > NotifyNever {
		return nil, fmt.Errorf("there is no rule %d of notifying", o.Notify)
	}
	return t.Notifying(postgres.Notify(o.Notify)), nil
}

// Beginner starts a transaction: a *pgxpool.Pool or a *pgx.Conn. A pgx.Tx does
// too; then the work is a savepoint in it.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// SQL returns the statements that create everything, for a migration tool; for
// one with versions, see [Outbox.Migrations]. Names are quoted in it. The error
// lists what is wrong with them.
func (o Outbox) SQL() (string, error) {
	t, err := o.Bind()
	if err != nil {
		return "", err
	}
	return t.Schema(), nil
}
