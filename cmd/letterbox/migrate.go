package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

func newMigrate(t *tool) *cobra.Command {
	c := group("migrate", "Make the tables, or write migrations for another tool",
		"migrate makes the tables (up), or writes the migrations for the tool that makes yours (print).",
		newMigrateUp(t), newMigratePrint(t))
	c.Example = `  letterbox migrate up
  letterbox migrate print --tool goose --dir migrations --number 12`
	return c
}

func newMigrateUp(t *tool) *cobra.Command {
	var dry, asJSON bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Make what is missing",
		Long: `up makes what is missing of the tables, in one transaction, and leaves what is there as it is, whoever made it: an earlier
version, another tool, or Alembic for the Python library. Where nothing is missing it only reads.

Where the tables would still not be what is needed, because something is there in another shape, or the schema is not, nothing
is done at all and the differences are listed: see 'letterbox validate'.

With --dry-run it does the same and rolls it back, so it takes the same locks, for a moment.`,
		Example: `  letterbox migrate up
  letterbox migrate up --dry-run
  letterbox migrate up --schema warehouse --table parcels`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error { return t.migrateUp(c.Context(), dry, asJSON) },
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be made, and make nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// errDry ends the transaction of a dry run.
var errDry = errors.New("dry run")

func (t *tool) migrateUp(ctx context.Context, dry, asJSON bool) error {
	var made []queue.Difference
	err := t.change(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if made, err = t.outbox.Migrate(ctx, tx); err == nil && dry {
			err = errDry
		}
		return err
	})
	if err != nil && !errors.Is(err, errDry) {
		if _, drifted := errors.AsType[*queue.SchemaError](err); drifted {
			err = fmt.Errorf("nothing was done, for it would not be enough: %w", err)
		}
		return err
	}
	if asJSON {
		return t.json().print(struct {
			DryRun bool         `json:"dry_run"`
			Made   []difference `json:"made"`
		}{dry, newDifferences(made)})
	}
	verb := "made"
	if dry {
		verb = "would make"
	}
	for _, d := range made {
		t.line("%s %s", verb, strings.TrimSuffix(subject(d), " is missing"))
	}
	if len(made) == 0 {
		t.line("nothing is missing")
	}
	return nil
}

func newMigratePrint(t *tool) *cobra.Command {
	const plainSQL = "sql"
	var (
		tool, dir string
		number    int64
	)
	tools := []string{string(queue.Goose), string(queue.GolangMigrate), string(queue.Tern), string(queue.Atlas), plainSQL}
	c := &cobra.Command{
		Use:   "print",
		Short: "Write the migrations for another tool",
		Long: `print writes the migrations for a tool: goose, golang-migrate, tern or atlas, into files of the folder --dir, or, without it, to
standard output. The first gets the number --number, the next one more. With --tool sql, which is the default, it writes the
statements of all of them, for any other tool. A file that is there already is not overwritten, and then none is written.

It needs no database. docs/migrations.md has what to know of each tool.`,
		Example: `  letterbox migrate print
  letterbox migrate print --tool goose --dir migrations --number 12
  letterbox migrate print --tool golang-migrate --dir db/migrations --number 20260102150405
  letterbox migrate print --tool tern --number 3
  letterbox migrate print --tool atlas --dir migrations --number 20260102150405`,
		Args: args(),
		RunE: func(*cobra.Command, []string) error {
			if tool != plainSQL {
				return t.printMigrations(queue.MigrationTool(tool), dir, number)
			}
			sql, err := t.outbox.SQL()
			if err != nil {
				return usageError{err}
			}
			return t.writeFiles(dir, []queue.File{{Name: "letterbox.sql", Content: sql}})
		},
	}
	c.Flags().StringVar(&tool, "tool", plainSQL, "one of "+strings.Join(tools, ", "))
	c.Flags().StringVar(&dir, "dir", "", "folder to write to, which exists (default: standard output)")
	c.Flags().Int64Var(&number, "number", 1, "number of the first file among those of the folder")
	_ = c.RegisterFlagCompletionFunc("tool", cobra.FixedCompletions(tools, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("dir")
	return c
}

func (t *tool) printMigrations(to queue.MigrationTool, dir string, number int64) error {
	all, err := t.outbox.Migrations()
	if err != nil {
		return usageError{err}
	}
	var files []queue.File
	for i, m := range all {
		some, err := m.Files(to, number+int64(i))
		if err != nil {
			return usageError{err}
		}
		files = append(files, some...)
	}
	return t.writeFiles(dir, files)
}

// writeFiles writes all files or none. Without a folder they go to standard output.
func (t *tool) writeFiles(dir string, files []queue.File) error {
	if dir == "" {
		for _, f := range files {
			if len(files) > 1 {
				t.line("-- %s", f.Name)
			}
			t.line("%s", strings.TrimRight(f.Content, "\n"))
		}
		return nil
	}
	var written []string
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := writeNew(path, f.Content); err != nil {
			for _, path := range written {
				err = errors.Join(err, os.Remove(path))
			}
			return fmt.Errorf("write a migration: %w; nothing was written", err)
		}
		written = append(written, path)
	}
	for _, path := range written {
		t.line("wrote %s", path)
	}
	return nil
}

// writeNew writes a file that is not there yet, and leaves none that is not whole.
func writeNew(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
