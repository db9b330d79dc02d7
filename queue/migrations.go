package queue

import (
	"fmt"
	"strings"
	"unicode"
)

// Migration is a step of the schema as SQL, for those who have a migration tool.
// Those who do not call [Outbox.Migrate].
type Migration struct {
	// Version counts from 1 without a gap. A migration that has been released is
	// never changed.
	Version int
	// Name is a word for what it makes.
	Name string
	// Up makes it, and leaves what is there as it is, so it can run on tables that
	// somebody else has made. Down removes it, with every message in it.
	Up, Down string

	misread string // what is in a name that tools would misread
}

// Migrations returns all migrations, in order, with the names of these tables in
// them. The error lists what is wrong with the names.
func (o Outbox) Migrations() ([]Migration, error) {
	t, err := o.Bind()
	if err != nil {
		return nil, err
	}
	n := t.Names()
	bad := misreads(n.Schema + n.Table + n.DeadLetters)
	var all []Migration
	for _, m := range t.Migrations() {
		all = append(all, Migration{Version: m.Version, Name: m.Name, Up: m.Up, Down: m.Down, misread: bad})
	}
	return all, nil
}

// MigrationTool is a tool that runs migrations from files.
type MigrationTool string

// Tools that [Migration.Files] writes for.
const (
	// Goose is github.com/pressly/goose: one file with both ways.
	Goose MigrationTool = "goose"
	// GolangMigrate is github.com/golang-migrate/migrate: a file for each way.
	GolangMigrate MigrationTool = "golang-migrate"
	// Tern is github.com/jackc/tern: one file with both ways.
	Tern MigrationTool = "tern"
	// Atlas is Atlas's versioned migrations: one file, up alone, since Atlas works
	// the way down out by itself. Its folder has a file of checksums, atlas.sum,
	// which the command atlas migrate hash writes anew.
	Atlas MigrationTool = "atlas"
)

// File is a file for a migration tool.
type File struct{ Name, Content string }

// Files writes the migration for a tool. number is its number among the migrations
// of the program, which the name of the file begins with: the next in the folder, or
// a time as 20060102150405 where that is the custom. Zero or less is refused, and so
// are a tool that is not known, and names of tables that a tool would take for a
// command of its own: those with ";", "--", "/*", "{{" or a control character.
func (m Migration) Files(tool MigrationTool, number int64) ([]File, error) {
	if number <= 0 {
		return nil, fmt.Errorf("write migration %d for %s: its number is %d, it must be above zero", m.Version, tool, number)
	}
	if m.misread != "" {
		return nil, fmt.Errorf("write migration %d for %s: the name of a table has %q in it, which would be misread; use Outbox.Migrate", m.Version, tool, m.misread)
	}
	name := "letterbox_" + m.Name
	switch tool {
	case Goose:
		return []File{{fmt.Sprintf("%05d_%s.sql", number, name), "-- +goose Up\n" + m.Up + "\n-- +goose Down\n" + m.Down}}, nil
	case GolangMigrate:
		base := fmt.Sprintf("%06d_%s", number, name)
		return []File{{base + ".up.sql", m.Up}, {base + ".down.sql", m.Down}}, nil
	case Tern:
		return []File{{fmt.Sprintf("%03d_%s.sql", number, name), m.Up + "\n---- create above / drop below ----\n\n" + m.Down}}, nil
	case Atlas:
		return []File{{fmt.Sprintf("%014d_%s.sql", number, name), m.Up}}, nil
	}
	return nil, fmt.Errorf("write migration %d: no tool %q is known; there are %s, %s, %s and %s", m.Version, tool, Goose, GolangMigrate, Tern, Atlas)
}

// misreads finds in a name what a tool would not take for a part of it: tools find
// the ends of statements and comments by themselves.
func misreads(name string) string {
	for _, bad := range []string{";", "--", "/*", "{{"} {
		if strings.Contains(name, bad) {
			return bad
		}
	}
	if at := strings.IndexFunc(name, unicode.IsControl); at >= 0 {
		return name[at : at+1]
	}
	return ""
}
