package access

import (
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// ErrNoTable is given to users by package queue.
var ErrNoTable = errors.New("the outbox table does not exist")

// Explain adds to an error of PostgreSQL what to do about it.
func Explain(t *postgres.Table, err error) error {
	switch {
	case err == nil:
		return nil
	case postgres.IsMissingTable(err):
		return fmt.Errorf("%w: %w", NoTable(t), err)
	case postgres.IsDenied(err):
		return fmt.Errorf("the role may not do this on %s: a publisher needs INSERT and SELECT, timers UPDATE and DELETE too, a worker SELECT, UPDATE and DELETE, and INSERT and SELECT on %s (see docs/security.md): %w",
			t, t.Names().DeadLetters, err)
	}
	return err
}

// ExplainRead is [Explain] for what is only read.
func ExplainRead(t *postgres.Table, err error) error {
	if postgres.IsDenied(err) {
		return fmt.Errorf("the role may not do this on %s: looking needs SELECT: %w", t, err)
	}
	return Explain(t, err)
}

// NoTable says that the table is missing, and what to do.
func NoTable(t *postgres.Table) error {
	return fmt.Errorf("%w: create %s with Outbox.Create, or run the statements of Outbox.SQL with a migration tool (the search_path must find it)", ErrNoTable, t)
}
