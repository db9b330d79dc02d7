package queue

import (
	"errors"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
)

// Errors of publishing. They come wrapped, naming the queue; nothing was
// written, but an error of the database itself ends the caller's transaction,
// as any failed statement does.
var (
	// ErrNoTransaction says that the transaction given is nil.
	ErrNoTransaction = access.ErrNoTransaction
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
	ErrNoTable = access.ErrNoTable
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
