package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestMigrateUp_MakesWhatIsMissingOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	letterbox(t, db, "migrate", "up", "--dry-run").wants(t, 0, `would make table "outbox"`, "")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`), 0)

	is.Equal(letterbox(t, db, "migrate", "up").out, "made table \"outbox\"\nmade table \"outbox_dlq\"\n")
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
	is.Equal(letterbox(t, db, "migrate", "up").out, "nothing is missing\n")
	is.Equal(letterbox(t, db, "migrate", "up", "--json").out, `{"dry_run":false,"made":[]}`+"\n")
}

func TestMigrateUp_FinishesWhatIsHalfDone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	execute(t, db, `DROP TABLE outbox_dlq; DROP INDEX outbox_lease_idx`)
	r := letterbox(t, db, "migrate", "up", "--json")
	r.wants(t, 0, "", "")
	is.Equal(len(object[struct{ Made []difference }](t, r).Made), 2)
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
}

func TestMigrateUp_DoesNothingOnTablesThatDrifted(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	execute(t, db, `DROP TABLE outbox_dlq; ALTER TABLE outbox DROP COLUMN headers`)
	letterbox(t, db, "migrate", "up").wants(t, 1, "", "nothing was done")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM pg_tables WHERE tablename = 'outbox_dlq'`), 0)
}

func TestMigrateUp_SaysWhatMakesTheSchema(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	r := letterbox(t, pgtest.New(t), "migrate", "up", "--schema", "nope")
	r.wants(t, 1, "", `nothing was done, for it would not be enough: migrate "nope"."outbox": 3 differences`)
	r.wants(t, 1, "", `mend: CREATE SCHEMA "nope"`)
	is.True(!strings.Contains(r.errs, "letterbox migrate up")) // which was just tried
}

func TestMigratePrint_WritesFilesThatMakeTheTables(t *testing.T) {
	t.Parallel()
	for tool, files := range map[string][]string{
		"sql":            {"letterbox.sql"},
		"goose":          {"00012_letterbox_outbox.sql"},
		"golang-migrate": {"000012_letterbox_outbox.down.sql", "000012_letterbox_outbox.up.sql"},
		"tern":           {"012_letterbox_outbox.sql"},
		"atlas":          {"00000000000012_letterbox_outbox.sql"},
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			dir := t.TempDir()
			command := []string{"migrate", "print", "--tool", tool, "--number", "12", "--dir", dir, "--table", "parcels"}
			prepare(t, "", command...).run(t).wants(t, 0, filepath.Join(dir, files[0]), "")
			found, err := os.ReadDir(dir)
			is.NoErr(err)
			is.Equal(len(found), len(files))
			for i, f := range found {
				is.Equal(f.Name(), files[i])
			}
			prepare(t, "", command...).run(t).wants(t, 1, "", "nothing was written") // what is there stays

			up := files[len(files)-1]
			sql, err := os.ReadFile(filepath.Join(dir, up))
			is.NoErr(err)
			text, _, _ := strings.Cut(string(sql), "-- +goose Down")
			text, _, _ = strings.Cut(text, "---- create above")
			db := pgtest.New(t, pgtest.Schema(text))
			letterbox(t, db, "validate", "--table", "parcels").wants(t, 0, "ok", "")
			shown := prepare(t, "", command[:6]...).run(t) // without a folder
			shown.wants(t, 0, `CREATE TABLE IF NOT EXISTS "outbox"`, "")
		})
	}
}

func TestMigratePrint_LeavesNothingWhereOneFileIsThere(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	dir := t.TempDir()
	is.NoErr(os.WriteFile(filepath.Join(dir, "000001_letterbox_outbox.down.sql"), []byte("mine"), 0o644))
	prepare(t, "", "migrate", "print", "--tool", "golang-migrate", "--dir", dir).run(t).wants(t, 1, "", "nothing was written")
	found, err := os.ReadDir(dir)
	is.NoErr(err)
	is.Equal(len(found), 1)
	prepare(t, "", "migrate", "print", "--dir", filepath.Join(dir, "none")).run(t).wants(t, 1, "", "no such file or directory")
}

func TestValidate_SaysWhatMakesTables(t *testing.T) {
	t.Parallel()
	letterbox(t, pgtest.New(t), "validate").wants(t, 3, "1. table \"outbox\" is missing\n   needs: a table\n   mend:  letterbox migrate up\n", "")
}

func TestValidate_ListsDifferencesThatMend(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	is.Equal(letterbox(t, db, "validate").out, "ok: the tables are as needed\n")

	execute(t, db, `DROP INDEX outbox_lease_idx; ALTER TABLE outbox ALTER created_at DROP DEFAULT; ALTER TABLE outbox RESET (autovacuum_vacuum_threshold)`)
	r := letterbox(t, db, "validate")
	r.wants(t, 3, "2 differences from what is needed\n", "")
	r.wants(t, 3, `index "outbox_lease_idx" of "public"."outbox" is missing`, "")
	r.wants(t, 3, "1 warning\n", "")
	is.Equal(r.errs, "")

	j := letterbox(t, db, "validate", "--json")
	is.Equal(j.code, 3)
	report := object[struct {
		OK                    bool
		Differences, Warnings []difference
	}](t, j)
	is.Equal(report.OK, false)
	is.Equal(len(report.Differences), 2)
	is.Equal(len(report.Warnings), 1)
	for _, d := range report.Differences {
		execute(t, db, d.Mend)
	}
	letterbox(t, db, "validate").wants(t, 0, "ok", "")
}

func TestValidate_SaysThatTablesAreMissing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	letterbox(t, db, "validate").wants(t, 3, `table "outbox" is missing`, "")
	letterbox(t, db, "validate", "--schema", "nowhere").wants(t, 3, `schema "nowhere" is missing`, "")
}
