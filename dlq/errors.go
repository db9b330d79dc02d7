package dlq

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/queue"
)

// Errors of calls. They come wrapped, naming the table or the letter, and
// nothing has been written then. A table that is missing is [queue.ErrNoTable],
// a transaction or database that is nil [queue.ErrNoTransaction].
var (
	// ErrNotFound says that there is no such letter, or not any more: it has
	// been replayed or purged. Get returns it, Replay reports it in a [Skip].
	ErrNotFound = errors.New("no such dead letter")
	// ErrInvalid says that a filter, a page or an option holds what cannot be
	// meant.
	ErrInvalid = errors.New("invalid argument")
	// ErrEmptyFilter says that a purge was given a filter that selects all. Use
	// [Everything] where that is meant.
	ErrEmptyFilter = errors.New("the filter selects every dead letter")
)

// Reasons why a letter stayed, in a [Skip]. It is as it was.
var (
	// ErrBusy says that another transaction has the letter in hand: most likely
	// it replays or purges it.
	ErrBusy = errors.New("the dead letter is locked by another transaction")
	// ErrTimerLive says that a message with the letter's timer id is in the
	// queue again, and that would be two. Cancel one, or replay to another queue.
	ErrTimerLive = errors.New("the letter's timer id is live again")
)

// explain adds to an error of PostgreSQL what to do about it.
func explain(t *postgres.Table, err error) error {
	switch {
	case postgres.IsMissingTable(err):
		return fmt.Errorf("%w, or its dead-letter table %q does not: create them with Outbox.Create, or run the statements of Outbox.SQL with a migration tool (the search_path must find them): %w",
			queue.ErrNoTable, t.Names().DeadLetters, err)
	case postgres.IsDenied(err):
		return fmt.Errorf("the role may not do this: looking needs SELECT on %q, a purge UPDATE and DELETE too, and a replay INSERT and SELECT on %q and USAGE on its id's sequence as well: %w",
			t.Names().DeadLetters, t.Names().Table, err)
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	}
	return err
}
