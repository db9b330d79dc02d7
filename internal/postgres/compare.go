package postgres

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Part is a kind of thing in a schema.
type Part string

// Parts.
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
					report.pending[s.version] = true
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
		if other := c.elsewhere(c.need.name); other != "" {
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

func (c *comparison) allColumns(live []liveColumn, known []string) {
	for _, need := range c.need.columns {
		i := slices.IndexFunc(live, func(x liveColumn) bool { return x.Name == need.name })
		if i < 0 {
			c.column(need.name, need.definition(), "", "ADD COLUMN "+quote(need.name)+" "+need.definition())
			continue
		}
		c.oneColumn(need, live[i])
	}
	for _, x := range live {
		if !slices.Contains(known, x.Name) && x.NotNull && x.Default == "" && !x.Identity && !x.Generated {
			c.column(x.Name, "a default, or NULL allowed: no publish gives it a value", "NOT NULL without a default",
				"ALTER COLUMN "+quote(x.Name)+" DROP NOT NULL")
		}
	}
}

// column adds a difference; where have is "" there is no such column.
func (c *comparison) column(name, need, have, alter string) {
	d := Difference{Part: ColumnPart, Name: name, Need: need, Have: have, Missing: have == ""}
	if alter != "" {
		d.Mend = "ALTER TABLE " + c.at + " " + alter
	}
	c.add(d)
}

func (c *comparison) oneColumn(need column, live liveColumn) {
	alter := "ALTER COLUMN " + quote(need.name) + " "
	if live.Generated {
		c.column(need.name, "a column that can be written", "a generated column", "")
		return
	}
	if !need.takes(live.Type) {
		var how string
		if need.widens(live.Type) {
			how = alter + "TYPE " + need.kind
		}
		c.column(need.name, need.kind, live.Type, how)
	}
	switch {
	case live.NotNull && need.nullable:
		c.column(need.name, "NULL allowed", "NOT NULL", alter+"DROP NOT NULL")
	case !live.NotNull && !need.nullable:
		c.column(need.name, "NOT NULL", "NULL allowed", alter+"SET NOT NULL")
	}
	if !need.value.takes(live.Default, live.Identity) {
		c.value(need, live, alter)
	}
	for _, s := range live.Sequences {
		c.warn(Difference{
			Part: PrivilegePart, Name: c.role, Need: "USAGE on the sequence " + s + ", to publish", Have: "none",
			Mend: "GRANT USAGE ON SEQUENCE " + s + " TO " + quote(c.role),
		})
	}
}

// value adds the difference of a default.
func (c *comparison) value(need column, live liveColumn, alter string) {
	have := "no default"
	switch {
	case live.Identity:
		have = "identity"
	case live.Default != "":
		have = "DEFAULT " + live.Default
	}
	switch need.value {
	case noValue:
		drop := alter + "DROP DEFAULT"
		if live.Identity {
			drop = alter + "DROP IDENTITY"
		}
		c.column(need.name, "no default", have, drop)
	case newValue:
		var add string
		if live.Default == "" {
			add = alter + "ADD GENERATED BY DEFAULT AS IDENTITY"
		}
		c.column(need.name, need.value.String(), have, add)
	default:
		want := "DEFAULT " + need.value.String()
		c.column(need.name, want, have, alter+"SET "+want)
	}
}

// leaseCheck is what the check says.
const leaseCheck = "CHECK ((acquired_token IS NULL) = (acquired_at IS NULL))"

// check looks for what the check means: its name, its spelling and how many
// constraints say it together are all the same.
func (c *comparison) check(ctx context.Context, tx pgx.Tx, live []liveCheck) error {
	guards, err := guardsLease(ctx, tx, live)
	if err != nil {
		return err
	}
	name := c.need.name + "_lease_ck"
	d := Difference{Part: CheckPart, Name: name, Need: leaseCheck, Missing: len(live) == 0}
	if !guards {
		change, have := make([]string, 0, len(live)+1), make([]string, len(live))
		for i, k := range live {
			have[i] = "CHECK (" + bare(k.Expr) + ")"
			change = append(change, "DROP CONSTRAINT "+quote(k.Name))
		}
		change = append(change, "ADD CONSTRAINT "+quote(name)+" "+leaseCheck)
		d.Have = strings.Join(have, " and ")
		d.Mend = "ALTER TABLE " + c.at + " " + strings.Join(change, ", ")
		c.add(d)
		return nil
	}
	for _, k := range live {
		if !k.Validated {
			c.warn(Difference{
				Part: CheckPart, Name: k.Name, Need: "a check that held for every row when it was made", Have: "NOT VALID",
				Mend: "ALTER TABLE " + c.at + " VALIDATE CONSTRAINT " + quote(k.Name),
			})
		}
	}
	return nil
}

// settings warns of storage settings.
func (c *comparison) settings(live *liveRelation) {
	has := map[string]string{}
	for _, o := range live.Options {
		name, value, _ := strings.Cut(o, "=")
		has[name] = value
	}
	for _, s := range c.need.settings {
		value, there := has[s.name]
		if there && (!s.exactly || equal(value, s.value)) {
			continue
		}
		c.warn(Difference{
			Part: SettingPart, Name: s.name, Need: s.value, Have: value, Missing: !there,
			Mend: fmt.Sprintf("ALTER TABLE %s SET (%s = %s)", c.at, s.name, s.value),
		})
	}
	if off, ok := has["autovacuum_enabled"]; ok && slices.Contains([]string{"false", "off", "no", "0"}, strings.ToLower(off)) {
		c.warn(Difference{
			Part: SettingPart, Name: "autovacuum_enabled", Need: "true", Have: off,
			Mend: "ALTER TABLE " + c.at + " RESET (autovacuum_enabled)",
		})
	}
}

// equal compares settings, which may be spelled in more than one way.
func equal(a, b string) bool {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// rights warns of what the role may not do. A publisher, a worker and one who
// looks on need different rights, so none of it is a difference.
func (c *comparison) rights(live *liveRelation) {
	d := Difference{Part: PrivilegePart, Name: c.role}
	if !live.Usable {
		d.Need, d.Have = "USAGE on the schema "+quote(live.Schema), "none"
		d.Mend = "GRANT USAGE ON SCHEMA " + quote(live.Schema) + " TO " + quote(c.role)
		c.warn(d)
	}
	var lacks []string
	for _, r := range c.need.rights {
		if !slices.Contains(live.Rights, r) {
			lacks = append(lacks, r)
		}
	}
	if len(lacks) > 0 {
		d.Need = strings.Join(c.need.rights, ", ") + " " + c.need.rightsFor
		d.Have = strings.Join(live.Rights, ", ")
		if d.Have == "" {
			d.Have = "none"
		}
		d.Mend = "GRANT " + strings.Join(lacks, ", ") + " ON " + c.at + " TO " + quote(c.role)
		c.warn(d)
	}
	if live.Secured {
		d.Part, d.Name = TablePart, c.need.name
		d.Need, d.Have, d.Mend = "every row for the role "+quote(c.role), "row level security, which may hide some", ""
		c.warn(d)
	}
}
