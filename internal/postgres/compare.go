package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Part is a kind of thing in a schema.
type Part string

// Parts of a schema.
const (
	SchemaPart    Part = "schema"
	TablePart     Part = "table"
	ColumnPart    Part = "column"
	IndexPart     Part = "index"
	CheckPart     Part = "check"
	SettingPart   Part = "setting"
	PrivilegePart Part = "privilege"
)

// Difference is one point in which the live tables are not what is needed.
type Difference struct {
	Table      string // as SQL names it
	Part       Part
	Name       string
	Need, Have string
	Missing    bool   // there is nothing of that name, or under any name that serves
	Mend       string // "": no statement does it safely

	of string // the table's name alone
}

// Report compares the live tables with what is needed.
type Report struct {
	Differences []Difference
	Warnings    []Difference

	pending map[int]bool // versions of which something is missing
	place   bool         // there is a schema to make it in
	outbox  string       // where each table is, or is to be
	letters string
}

// Inspect compares. It reads the catalogs, and nothing else.
func (t *Table) Inspect(ctx context.Context, tx pgx.Tx) (*Report, error) {
	steps := t.steps()
	var names []string
	columns := map[string][]string{} // of each table, over all steps
	for _, s := range steps {
		for _, r := range s.makes {
			names = append(names, r.name)
			for _, x := range r.indexes {
				names = append(names, x.name)
			}
			for _, c := range r.columns {
				columns[r.name] = append(columns[r.name], c.name)
			}
		}
	}
	c, err := t.readCatalog(ctx, tx, names)
	if err != nil {
		return nil, err
	}
	report := &Report{pending: map[int]bool{}, place: c.schema}
	report.outbox, report.letters = t.locate(c)
	if !c.schema {
		report.Differences = append(report.Differences, Difference{
			Part: SchemaPart, Name: t.names.Schema, Need: "a schema for the tables",
			Missing: true, Mend: "CREATE SCHEMA " + quote(t.names.Schema),
		})
	}
	for _, s := range steps {
		for _, need := range s.makes {
			cmp := &comparison{catalog: c, need: need, at: report.outbox, report: report}
			if need.name == t.names.DeadLetters {
				cmp.at = report.letters
			}
			before := len(report.Differences)
			if err := cmp.table(ctx, tx, columns[need.name]); err != nil {
				return nil, err
			}
			for _, d := range report.Differences[before:] {
				if d.Missing {
					report.pending[s.Version] = true
				}
			}
		}
	}
	return report, nil
}

// locate says where the tables are. What is missing belongs beside the other.
func (t *Table) locate(c *catalog) (outbox, letters string) {
	outbox, letters = t.outbox(), t.deadLetters()
	o, l := c.find(t.names.Table), c.find(t.names.DeadLetters)
	if o != nil {
		outbox, letters = o.String(), quote(o.Schema)+"."+quote(t.names.DeadLetters)
	}
	if l != nil {
		letters = l.String()
	}
	if o == nil && l != nil {
		outbox = quote(l.Schema) + "." + quote(t.names.Table)
	}
	return outbox, letters
}

// comparison is of one table with what one step makes of it.
type comparison struct {
	*catalog
	need   relation
	at     string // the table, as SQL names it
	report *Report
}

func (c *comparison) add(d Difference) {
	d.Table, d.of = c.at, c.need.name
	c.report.Differences = append(c.report.Differences, d)
}

func (c *comparison) warn(d Difference) {
	d.Table, d.of = c.at, c.need.name
	c.report.Warnings = append(c.report.Warnings, d)
}

// kinds are what a name can stand for, by pg_class.relkind.
var kinds = map[string]string{
	"p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table",
	"S": "a sequence", "i": "an index", "I": "an index", "c": "a type",
}

func (c *comparison) table(ctx context.Context, tx pgx.Tx, known []string) error {
	d := Difference{Part: TablePart, Name: c.need.name, Need: "a table"}
	live := c.find(c.need.name)
	if live == nil {
		d.Missing = true
		if other := c.elsewhere(c.need.name); !c.named && other != "" {
			d.Have = "the search_path (" + c.path + ") does not find " + other
		}
		c.add(d)
		return nil
	}
	if live.Kind != "r" {
		d.Have = kinds[live.Kind]
		c.add(d)
		return nil
	}
	switch live.Persistence {
	case "u":
		d.Need, d.Have = "a table that outlives a crash", "an unlogged table"
		d.Mend = "ALTER TABLE " + c.at + " SET LOGGED"
		c.add(d)
	case "t":
		d.Need, d.Have = "a table that all sessions see", "a temporary table"
		c.add(d)
		return nil
	}
	c.allColumns(live.Columns, known)
	for _, x := range c.need.indexes {
		c.index(x, live)
	}
	if c.need.check {
		if err := c.check(ctx, tx, live.Checks); err != nil {
			return err
		}
	}
	c.settings(live)
	c.rights(live)
	return nil
}
