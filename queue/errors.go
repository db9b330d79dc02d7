package queue

import (
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Errors of publishing. They come wrapped, naming the queue; nothing was
// written, but an error of the database itself ends the caller's transaction,
// as any failed statement does.
var (
	// ErrNoTransaction says that the transaction given is nil.
	ErrNoTransaction = errors.New("no transaction")
	// ErrTooLarge says that a payload passes the queue's limit, or the headers
	// theirs.
	ErrTooLarge = errors.New("message too large")
	// ErrInvalidHeader says that a header has no name, holds what JSON text in
	// PostgreSQL cannot (a NUL, bytes that are not UTF-8), or takes a name that
	// the envelope needs.
	ErrInvalidHeader = errors.New("invalid header")
	// ErrInvalidName says that a queue's name is empty, longer than 255
	// characters, not valid text, or taken; see [New].
	ErrInvalidName = errors.New("invalid queue name")
	// ErrInvalidDelay says that a delay is below zero or above [MaxDelay].
	ErrInvalidDelay = errors.New("invalid delay")
	// ErrNoTable says that the outbox table is not in the database, or not
	// where the connection's search_path looks. See [Outbox.Create].
	ErrNoTable = errors.New("the outbox table does not exist")
	// ErrReadOnly says that the server takes no writes, or the session does not: as
	// a rule it is a standby, or was the primary until a failover. It comes from
	// [Outbox.Ping].
	ErrReadOnly = errors.New("the server takes no writes")
	// ErrNotMade says that a queue, a draft or a subscription is a zero value
	// and was not made by its constructor.
	ErrNotMade = errors.New("zero value: use the constructor")
)

// Causes that a handler's context ends with; read them with [context.Cause].
var (
	// ErrLeaseLost says that the message went to another worker, or may have:
	// its lease could not be extended in time. What the handler returns is not
	// written any more.
	ErrLeaseLost = lease.ErrLost
	// ErrShutdown says that the worker stops and the grace period is over. An
	// error returned after it is no failed attempt: the message is handed back.
	// What Snooze, Discard and Undecodable say holds all the same.
	ErrShutdown = lease.ErrShutdown
)

// explain adds to an error of PostgreSQL what to do about it.
func explain(t *postgres.Table, err error) error {
	switch {
	case err == nil:
		return nil
	case postgres.IsMissingTable(err):
		return fmt.Errorf("%w: %w", noTable(t), err)
	case postgres.IsDenied(err):
		return fmt.Errorf("the role may not do this on %s: a publisher needs INSERT and SELECT, timers UPDATE and DELETE too, a worker SELECT, UPDATE and DELETE, and INSERT and SELECT on %s (see docs/security.md): %w",
			t, t.Names().DeadLetters, err)
	}
	return err
}

// noTable says that the table is missing, and what to do.
func noTable(t *postgres.Table) error {
	return fmt.Errorf("%w: create %s with Outbox.Create, or run the statements of Outbox.SQL with a migration tool (the search_path must find it)", ErrNoTable, t)
}
