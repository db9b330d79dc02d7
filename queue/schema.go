package queue

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Part is a kind of thing that a schema is made of.
type Part string

// Parts of a schema.
const (
	PartSchema    Part = Part(postgres.SchemaPart)
	PartTable     Part = Part(postgres.TablePart)
	PartColumn    Part = Part(postgres.ColumnPart)
	PartIndex     Part = Part(postgres.IndexPart) // the primary key too
	PartCheck     Part = Part(postgres.CheckPart)
	PartSetting   Part = Part(postgres.SettingPart)   // only in warnings
	PartPrivilege Part = Part(postgres.PrivilegePart) // only in warnings
)

// Difference is one point in which the live tables are not what is needed.
type Difference struct {
	// Table is the table as SQL names it; empty where a whole schema is missing.
	Table string
	// Part and Name say what it is about. The name of a privilege is the role's.
	Part Part
	Name string
	// Need is what is needed, and Have what is there instead.
	Need, Have string
	// Missing says that there is no such thing, under this name or any other that
	// would serve; Have may then say where there is one that is not found.
	Missing bool
	// Mend is SQL that makes it as needed and loses nothing: it works, or it fails
	// because of rows that do not fit, and changes nothing then if it runs in a
	// transaction. It may lock and read the whole table. It is empty where somebody
	// has to decide something first.
	Mend string
}

// String says it in one line.
func (d Difference) String() string {
	var b strings.Builder
	if d.Table != "" && d.Part != PartTable {
		fmt.Fprintf(&b, "%s: ", d.Table)
	}
	if d.Part == PartTable && d.Table != "" {
		fmt.Fprintf(&b, "table %s", d.Table)
	} else {
		fmt.Fprintf(&b, "%s %q", d.Part, d.Name)
	}
	switch {
	case d.Missing && d.Have != "":
		fmt.Fprintf(&b, " is missing (%s)", d.Have)
	case d.Missing:
		b.WriteString(" is missing")
	default:
		fmt.Fprintf(&b, " has: %s", d.Have)
	}
	fmt.Fprintf(&b, "; needs: %s", d.Need)
	if d.Mend != "" {
		fmt.Fprintf(&b, "; mend: %s", d.Mend)
	}
	return b.String()
}

// SchemaError says in what the live tables are not what is needed. It wraps
// [ErrNoTable] where a table is missing.
type SchemaError struct {
	// Differences is all of them: by table, then columns, indexes and the check.
	Differences []Difference
}

// Error has a line for each difference.
func (e *SchemaError) Error() string {
	lines := make([]string, 1, 1+len(e.Differences))
	lines[0] = "1 difference from the schema that is needed:"
	if n := len(e.Differences); n != 1 {
		lines[0] = fmt.Sprintf("%d differences from the schema that is needed:", n)
	}
	for _, d := range e.Differences {
		lines = append(lines, d.String())
	}
	return strings.Join(lines, "\n\t")
}

// Unwrap gives [ErrNoTable] where a table is missing.
func (e *SchemaError) Unwrap() error {
	for _, d := range e.Differences {
		if d.Part == PartTable && d.Missing {
			return ErrNoTable
		}
	}
	return nil
}

// schemaError is nil where there is no difference.
func schemaError(found []postgres.Difference) error {
	if len(found) == 0 {
		return nil
	}
	return &SchemaError{Differences: differences(found)}
}

func differences(found []postgres.Difference) []Difference {
	if len(found) == 0 {
		return nil
	}
	all := make([]Difference, len(found))
	for i, d := range found {
		all[i] = Difference{Table: d.Table, Part: Part(d.Part), Name: d.Name, Need: d.Need, Have: d.Have, Missing: d.Missing, Mend: d.Mend}
	}
	return all
}

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
	var made []postgres.Difference
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		var now *postgres.Report
		var err error
		if made, now, err = t.Migrate(ctx, tx); err != nil {
			return err
		}
		return schemaError(now.Differences)
	})
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", t, err)
	}
	return differences(made), nil
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
