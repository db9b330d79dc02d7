package postgres

import (
	"embed"
	"fmt"
	"strings"
)

// files are the migrations as SQL that runs as it is, for the default names. Each
// up file can be run again, and leaves what is there as it is: nothing but the
// catalogs says which of them have run, since other tools may have run them.
//
//go:embed migrations/*.sql
var files embed.FS

// step is a migration with what it makes. A new one is a pair of files and a line
// in [steps]; whatever it makes has its name in [Table.places].
type step struct {
	version int
	name    string
	makes   []relation
}

// steps are all migrations, in order. One that has been released is never changed.
func (t *Table) steps() []step {
	return []step{
		{1, "outbox", []relation{t.outboxShape(), t.deadLettersShape()}},
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
		read := func(way string) string {
			text, err := files.ReadFile(fmt.Sprintf("migrations/%04d_%s.%s.sql", s.version, s.name, way))
			if err != nil {
				panic(err) // a file is missing from the build: a test reads them all
			}
			return places.Replace(string(text))
		}
		all[i] = Migration{Version: s.version, Name: s.name, Up: read("up"), Down: read("down")}
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
