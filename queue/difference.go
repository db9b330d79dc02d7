package queue

import (
	"fmt"
	"strings"

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
