package queue_test

import (
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
)

// contrib/migratetest runs the files with the tools themselves.
func TestMigrationFiles_AreNamedAsEachToolWants(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	all, err := queue.Outbox{}.Migrations()
	is.NoErr(err)
	m := all[0]
	for _, tt := range []struct {
		tool   queue.MigrationTool
		number int64
		want   []queue.File
	}{
		{queue.Goose, 12, []queue.File{{"00012_letterbox_outbox.sql", "-- +goose Up\n" + m.Up + "\n-- +goose Down\n" + m.Down}}},
		{queue.GolangMigrate, 12, []queue.File{{"000012_letterbox_outbox.up.sql", m.Up}, {"000012_letterbox_outbox.down.sql", m.Down}}},
		{queue.Tern, 12, []queue.File{{"012_letterbox_outbox.sql", m.Up + "\n---- create above / drop below ----\n\n" + m.Down}}},
		{queue.Atlas, 12, []queue.File{{"00000000000012_letterbox_outbox.sql", m.Up}}},
		{queue.Goose, 20260102150405, []queue.File{{"20260102150405_letterbox_outbox.sql", "-- +goose Up\n" + m.Up + "\n-- +goose Down\n" + m.Down}}},
	} {
		got, err := m.Files(tt.tool, tt.number)
		is.NoErr(err)
		is.Equal(got, tt.want)
	}
}

func TestMigrationFiles_RefuseWhatAToolWouldMisread(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		outbox queue.Outbox
		tool   queue.MigrationTool
		number int64
		says   string // "": it is fine
	}{
		{"plain", queue.Outbox{Schema: "app", Table: "Ausgang ü"}, queue.Goose, 1, ""},
		{"no number", queue.Outbox{}, queue.Goose, 0, "its number is 0"},
		{"a number below zero", queue.Outbox{}, queue.Tern, -1, "its number is -1"},
		{"no such tool", queue.Outbox{}, "flyway", 1, `no tool "flyway" is known`},
		{"the end of a statement", queue.Outbox{Table: "a;"}, queue.Goose, 1, `has ";" in it`},
		{"a comment", queue.Outbox{Schema: "a--b"}, queue.Goose, 1, `has "--" in it`},
		{"a template", queue.Outbox{DeadLetters: "{{.x}}"}, queue.Tern, 1, `has "{{" in it`},
		{"a line of its own", queue.Outbox{Table: "a\nb"}, queue.Tern, 1, `has "\n" in it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			all, err := tt.outbox.Migrations()
			is.NoErr(err)
			files, err := all[0].Files(tt.tool, tt.number)
			if tt.says == "" {
				is.NoErr(err)
				is.True(strings.Contains(files[0].Content, `"Ausgang ü"`))
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), tt.says))
		})
	}
}

func TestMigrations_RefuseBadNames(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, err := queue.Outbox{Table: strings.Repeat("t", 60)}.Migrations()
	is.True(err != nil && strings.Contains(err.Error(), "too long"))
}
