package migratetest

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	atlasmigrate "ariga.io/atlas/sql/migrate"
	atlaspostgres "ariga.io/atlas/sql/postgres"
	"github.com/golang-migrate/migrate/v4"
	pgxmigrate "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5/stdlib"
	ternmigrate "github.com/jackc/tern/v2/migrate"
	"github.com/matryer/is"
	"github.com/pressly/goose/v3"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// outbox has names that need their quotes, in the schema that the tools work in.
var outbox = queue.Outbox{Table: "My \\outbox${HOME}\\", DeadLetters: `d"l'q$$\`}

// files writes all migrations for a tool, numbered as they are.
func files(t *testing.T, o queue.Outbox, tool queue.MigrationTool) fs.FS {
	t.Helper()
	all, err := o.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	written := fstest.MapFS{}
	for _, m := range all {
		some, err := m.Files(tool, int64(m.Version))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range some {
			written[f.Name] = &fstest.MapFile{Data: []byte(f.Content), Mode: 0o644}
		}
	}
	return written
}

// tool runs files on a database: up to the last, and down to none where it can.
type tool struct {
	name queue.MigrationTool
	up   func(*testing.T, *pgtest.DB, fs.FS) error
	down func(*testing.T, *pgtest.DB, fs.FS) error // nil: it works the way down out by itself
}

func open(t *testing.T, db *pgtest.DB) *sql.DB {
	t.Helper()
	conn := stdlib.OpenDBFromPool(db.Pool)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func runGoose(t *testing.T, db *pgtest.DB, files fs.FS, run func(*goose.Provider) error) error {
	p, err := goose.NewProvider(goose.DialectPostgres, open(t, db), files)
	if err != nil {
		return err
	}
	return run(p)
}

func runGolangMigrate(t *testing.T, db *pgtest.DB, files fs.FS, run func(*migrate.Migrate) error) error {
	from, err := iofs.New(files, ".")
	if err != nil {
		return err
	}
	to, err := pgxmigrate.WithInstance(open(t, db), &pgxmigrate.Config{})
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", from, "pgx5", to)
	if err != nil {
		return err
	}
	defer func() { _, _ = m.Close() }()
	return run(m)
}

func runTern(t *testing.T, db *pgtest.DB, files fs.FS, run func(*ternmigrate.Migrator) error) error {
	conn, err := db.Pool.Acquire(t.Context())
	if err != nil {
		return err
	}
	defer conn.Release()
	m, err := ternmigrate.NewMigrator(t.Context(), conn.Conn(), "public.schema_version")
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(files); err != nil {
		return err
	}
	return run(m)
}

// upAtlas writes the folder with its sums, as atlas migrate hash does, checks it
// as atlas migrate apply does, and runs what is in it.
func upAtlas(t *testing.T, db *pgtest.DB, files fs.FS) error {
	folder := filepath.Join(t.TempDir(), "migrations")
	if err := os.CopyFS(folder, files); err != nil {
		return err
	}
	dir, err := atlasmigrate.NewLocalDir(folder)
	if err != nil {
		return err
	}
	sum, err := dir.Checksum()
	if err != nil {
		return err
	}
	if err := atlasmigrate.WriteSumFile(dir, sum); err != nil {
		return err
	}
	if err := atlasmigrate.Validate(dir); err != nil {
		return err
	}
	driver, err := atlaspostgres.Open(open(t, db))
	if err != nil {
		return err
	}
	x, err := atlasmigrate.NewExecutor(driver, dir, atlasmigrate.NopRevisionReadWriter{},
		atlasmigrate.WithAllowDirty(true))
	if err != nil {
		return err
	}
	return x.ExecuteN(t.Context(), 0)
}

var tools = []tool{
	{
		name: queue.Goose,
		up: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runGoose(t, db, files, func(p *goose.Provider) error { _, err := p.Up(t.Context()); return err })
		},
		down: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runGoose(t, db, files, func(p *goose.Provider) error { _, err := p.DownTo(t.Context(), 0); return err })
		},
	},
	{
		name: queue.GolangMigrate,
		up: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runGolangMigrate(t, db, files, (*migrate.Migrate).Up)
		},
		down: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runGolangMigrate(t, db, files, (*migrate.Migrate).Down)
		},
	},
	{
		name: queue.Tern,
		up: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runTern(t, db, files, func(m *ternmigrate.Migrator) error { return m.Migrate(t.Context()) })
		},
		down: func(t *testing.T, db *pgtest.DB, files fs.FS) error {
			return runTern(t, db, files, func(m *ternmigrate.Migrator) error { return m.MigrateTo(t.Context(), 0) })
		},
	},
	{name: queue.Atlas, up: upAtlas},
}

// tables counts the outbox's tables that there are.
func tables(t *testing.T, db *pgtest.DB, o queue.Outbox) (n int) {
	t.Helper()
	const count = `SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname IN ($1, $2)`
	if err := db.Pool.QueryRow(t.Context(), count, o.Table, o.DeadLetters).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTools_RunTheFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range tools {
		t.Run(string(tt.name), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t)
			written := files(t, outbox, tt.name)
			is.NoErr(tt.up(t, db, written))
			is.NoErr(outbox.Validate(t.Context(), db.Pool))
			warnings, err := outbox.Warnings(t.Context(), db.Pool)
			is.NoErr(err)
			is.Equal(warnings, nil)

			made, err := outbox.Migrate(t.Context(), db.Pool) // nothing is left for it
			is.NoErr(err)
			is.Equal(made, nil)

			if tt.down == nil {
				return
			}
			is.NoErr(tt.down(t, db, written))
			is.Equal(tables(t, db, outbox), 0)
			is.NoErr(tt.up(t, db, written))
			is.NoErr(outbox.Validate(t.Context(), db.Pool))
		})
	}
}

// A tool that comes later finds what is there, and keeps it with its messages.
func TestTools_AdoptTablesThatAreThere(t *testing.T) {
	t.Parallel()
	alembic, err := os.ReadFile("../../queue/testdata/alembic.sql")
	if err != nil {
		t.Fatal(err)
	}
	created, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []struct{ name, sql string }{{"Create", created}, {"Alembic", string(alembic)}} {
		for _, tt := range tools {
			t.Run(from.name+"/"+string(tt.name), func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := pgtest.New(t, pgtest.Schema(from.sql))
				publish(t, db)
				is.NoErr(tt.up(t, db, files(t, queue.Outbox{}, tt.name)))
				is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
				var n int
				is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&n))
				is.Equal(n, 1)
			})
		}
	}
}

func publish(t *testing.T, db *pgtest.DB) {
	t.Helper()
	_, err := queue.New("q").Publish(context.WithoutCancel(t.Context()), queue.Autocommit(db.Pool), []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
}
