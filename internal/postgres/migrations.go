package postgres

import (
	_ "embed"
	"strings"
)

// The migrations are SQL that runs as it is, for the default names. Each way up can
// be run again, and leaves what is there as it is: nothing but the catalogs says
// which of them have run, since other tools may have run them.
var (
	//go:embed migrations/0001_outbox.up.sql
	outboxUp string
	//go:embed migrations/0001_outbox.down.sql
	outboxDown string
)

// step is a migration with what it makes.
type step struct {
	Migration
	makes []relation
}

// steps are all migrations, in order. One that has been released is never changed.
// A new one is a pair of files and an entry here, and whatever it names is in
// [Table.places].
func (t *Table) steps() []step {
	return []step{
		{Migration{1, "outbox", outboxUp, outboxDown}, []relation{t.outboxShape(), t.deadLettersShape()}},
	}
}

// Migration is a versioned step of the schema, as SQL for these tables.
type Migration struct {
	Version  int
	Name     string
	Up, Down string
}

// Migrations returns all of them, in order.
func (t *Table) Migrations() []Migration {
	return t.migrations(t.outbox(), t.deadLetters())
}

func (t *Table) migrations(outbox, deadLetters string) []Migration {
	places := t.places(outbox, deadLetters)
	steps := t.steps()
	all := make([]Migration, len(steps))
	for i, s := range steps {
		all[i] = s.Migration
		all[i].Up, all[i].Down = places.Replace(s.Up), places.Replace(s.Down)
	}
	return all
}

// places puts the names of these tables in the place of the default ones, which
// stand quoted in the files.
func (t *Table) places(outbox, deadLetters string) *strings.Replacer {
	return strings.NewReplacer(
		`"outbox"`, outbox,
		`"outbox_dlq"`, deadLetters,
		`"outbox_lease_ck"`, quote(t.names.Table+"_lease_ck"),
		`"outbox_pending_idx"`, quote(t.names.Table+"_pending_idx"),
		`"outbox_lease_idx"`, quote(t.names.Table+"_lease_idx"),
		`"outbox_timer_id_uq"`, quote(t.names.Table+"_timer_id_uq"),
		`"outbox_dlq_queue_failed_idx"`, quote(t.names.DeadLetters+"_queue_failed_idx"),
	)
}

// Schema returns the SQL that creates both tables, for any migration tool. It
// can be run again, and leaves a table that is already there as it is.
func (t *Table) Schema() string {
	var all strings.Builder
	for i, m := range t.Migrations() {
		if i > 0 {
			all.WriteString("\n")
		}
		all.WriteString(m.Up)
	}
	return all.String()
}
