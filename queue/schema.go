package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Migrate brings the tables up to date, in one transaction: it creates what is
// missing, and leaves what is there as it is, whoever made it: an earlier version,
// [Outbox.Create], another migration tool, or Alembic for the Python library.
// It returns what was missing and is there now.
//
// There is no table of versions: what has been done is seen in the tables
// themselves. Where nothing is missing Migrate only reads the catalogs, without a
// lock and with no rights but to connect, so it can be called at each start;
// processes that start together take turns. Where it has an index to add, that
// waits for writers and holds up others: see the lock_timeout setting.
//
// Where the tables would still not be what is needed, because something is there
// in another shape, nothing is done and the error wraps a [SchemaError], as that of
// [Outbox.Validate].
func (o Outbox) Migrate(ctx context.Context, db Beginner) ([]Difference, error) {
	t, err := o.Bind()
	if err != nil {
		return nil, err
	}
	made, err := migrate(ctx, db, t)
	var other *SchemaError
	if errors.As(err, &other) {
		// Where transactions are repeatable read by default, this one did not see
		// what somebody made while it waited for its turn. The next one does.
		made, err = migrate(ctx, db, t)
	}
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", t, err)
	}
	return differences(made), nil
}

func migrate(ctx context.Context, db Beginner, t *postgres.Table) (made []postgres.Difference, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var now *postgres.Report
		if made, now, err = t.Migrate(ctx, tx); err != nil {
			return err
		}
		return schemaError(now.Differences)
	})
	return made, err
}

// Create is [Outbox.Migrate] for those who do not ask what was done: it creates
// both tables, their indexes and settings, in one transaction, and leaves what is
// there already as it is. It can be called at each start.
func (o Outbox) Create(ctx context.Context, db Beginner) error {
	_, err := o.Migrate(ctx, db)
	return err
}

// Validate compares the live tables with what is needed. The error wraps a
// [SchemaError] that lists every difference, each with what is needed, what is
// there, and a statement that mends it where there is a safe one; it wraps
// [ErrNoTable] too where a table is missing. What it compares is in
// docs/migrations.md; in short, all that publishing, working and the Python
// library rely on, by meaning and not by name or spelling. More columns and more
// indexes are fine, unless a publish could not fill them.
//
// It only reads the catalogs, which any role may, in a few round trips. What does
// not stop anything is not an error: see [Outbox.Warnings].
func (o Outbox) Validate(ctx context.Context, db Beginner) error {
	t, err := o.Bind()
	if err != nil {
		return err
	}
	report, err := inspect(ctx, db, t)
	if err == nil {
		err = schemaError(report.Differences)
	}
	if err != nil {
		return fmt.Errorf("validate %s: %w", t, err)
	}
	return nil
}

// Warnings lists what works, but not well, or not for everybody: autovacuum
// settings that let dead rows pile up, privileges that the connection's role lacks
// to publish and to work, row level security, a check that was never validated. It
// says nothing of tables that are missing; those are [Outbox.Validate]'s.
func (o Outbox) Warnings(ctx context.Context, db Beginner) ([]Difference, error) {
	t, err := o.Bind()
	if err != nil {
		return nil, err
	}
	report, err := inspect(ctx, db, t)
	if err != nil {
		return nil, fmt.Errorf("look at the schema of %s: %w", t, err)
	}
	return differences(report.Warnings), nil
}

// inspect looks at the tables in a transaction that writes nothing.
func inspect(ctx context.Context, db Beginner, t *postgres.Table) (*postgres.Report, error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer rollback(ctx, tx) // which in a transaction of the caller's lets it write again
	if _, err := tx.Exec(ctx, "SET LOCAL transaction_read_only = on"); err != nil {
		return nil, err
	}
	return t.Inspect(ctx, tx)
}
