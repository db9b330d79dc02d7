package queue_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func alembic(t testing.TB) string {
	t.Helper()
	sql, err := os.ReadFile("testdata/alembic.sql")
	if err != nil {
		t.Fatal(err)
	}
	return string(sql)
}

func TestValidate_TakesATableThatAlembicMade(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(alembic(t)))
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
	made, err := queue.Outbox{}.Migrate(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(made, nil)
	publishes(t, db)

	// Alembic cannot write storage settings.
	warnings, err := queue.Outbox{}.Warnings(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(len(warnings), 5)
	is.Equal(warnings[0].String(), `"public"."outbox": setting "autovacuum_vacuum_scale_factor" is missing; needs: 0; `+
		`mend: ALTER TABLE "public"."outbox" SET (autovacuum_vacuum_scale_factor = 0)`)
	for _, w := range warnings {
		exec(t, db, w.Mend)
	}
	warnings, err = queue.Outbox{}.Warnings(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(warnings, nil)
}

// What means the same, or is more than is needed, is fine.
func TestValidate_JudgesByMeaning(t *testing.T) {
	t.Parallel()
	schema := created(t)
	for _, tt := range []struct{ name, sql string }{
		{"wider text", `ALTER TABLE outbox ALTER queue TYPE text, ALTER timer_id TYPE varchar(300); ALTER TABLE outbox_dlq ALTER failure_reason TYPE varchar`},
		{"a text without a limit by another name", `ALTER TABLE outbox_dlq ALTER last_exception TYPE varchar`},
		{"the precision that times have", `ALTER TABLE outbox ALTER created_at TYPE timestamptz(6)`},
		{"identity always", `ALTER TABLE outbox ALTER id SET GENERATED ALWAYS`},
		{"a serial", `ALTER TABLE outbox ALTER id DROP IDENTITY; CREATE SEQUENCE s OWNED BY outbox.id; ALTER TABLE outbox ALTER id SET DEFAULT nextval('s')`},
		{"a sequence of nobody", `ALTER TABLE outbox ALTER id DROP IDENTITY; CREATE SEQUENCE s; ALTER TABLE outbox ALTER id SET DEFAULT nextval('s')`},
		{"CURRENT_TIMESTAMP", `ALTER TABLE outbox ALTER created_at SET DEFAULT CURRENT_TIMESTAMP`},
		{"transaction_timestamp()", `ALTER TABLE outbox ALTER next_attempt_at SET DEFAULT transaction_timestamp()`},
		{"a zero in quotes", `ALTER TABLE outbox ALTER attempts_count SET DEFAULT '0', ALTER deliveries_count SET DEFAULT 0::smallint`},
		{"a default that is NULL", `ALTER TABLE outbox ALTER acquired_token SET DEFAULT NULL, ALTER timer_id SET DEFAULT NULL::varchar`},
		{"a default where every writer gives a value", `ALTER TABLE outbox ALTER headers SET DEFAULT '{}'`},
		{"further columns", `ALTER TABLE outbox ADD note text, ADD tenant int NOT NULL DEFAULT 0, ADD n bigint GENERATED ALWAYS AS IDENTITY,
			ADD size int NOT NULL GENERATED ALWAYS AS (length(payload)) STORED`},
		{"a column that was dropped", `ALTER TABLE outbox ADD gone int NOT NULL DEFAULT 0; ALTER TABLE outbox ALTER gone DROP DEFAULT; ALTER TABLE outbox DROP gone`},
		{"further indexes", `CREATE INDEX ON outbox (created_at); CREATE INDEX ON outbox (lower(queue))`},
		{"an index by another name", `ALTER INDEX outbox_pending_idx RENAME TO ix_pending; ALTER INDEX outbox_timer_id_uq RENAME TO uq; ALTER INDEX outbox_pkey RENAME TO pk`},
		{"an index in the reverse order", `DROP INDEX outbox_pending_idx;
			CREATE INDEX outbox_pending_idx ON outbox (queue, next_attempt_at DESC) WHERE acquired_token IS NULL`},
		{"an index that carries more", `DROP INDEX outbox_lease_idx; CREATE INDEX outbox_lease_idx ON outbox (queue, acquired_at) INCLUDE (id) WHERE (((acquired_token) IS NOT NULL))`},
		{"a unique index for a primary key", `ALTER TABLE outbox DROP CONSTRAINT outbox_pkey; CREATE UNIQUE INDEX ON outbox (id)`},
		{"the check by another name", `ALTER TABLE outbox RENAME CONSTRAINT outbox_lease_ck TO ck_outbox_outbox_lease_ck`},
		{"the check in other words", `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck, ADD CHECK (num_nulls(acquired_token, acquired_at) <> 1)`},
		{"the check in two parts", `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck,
			ADD CHECK (acquired_token IS NULL OR acquired_at IS NOT NULL), ADD CHECK (NOT (acquired_at IS NOT NULL AND acquired_token IS NULL))`},
		{"further checks", `ALTER TABLE outbox ADD CHECK (queue <> ''), ADD CHECK (acquired_at IS NULL OR deliveries_count > 0)`},
		{"triggers", `CREATE TRIGGER t BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`},
		{"another table of the same name", `CREATE SCHEMA app; CREATE TABLE app.outbox (id int)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema(schema))
			exec(t, db, tt.sql)
			is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
			publishes(t, db)
		})
	}
}

// CREATE INDEX CONCURRENTLY leaves an index behind when it fails.
func TestValidate_SeesAnIndexThatWasNotBuiltToItsEnd(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `DROP INDEX outbox_timer_id_uq; INSERT INTO outbox (queue, payload, timer_id) VALUES ('q', '', 't'), ('q', '', 't')`)
	_, err := db.Pool.Exec(t.Context(), `CREATE UNIQUE INDEX CONCURRENTLY outbox_timer_id_uq ON outbox (queue, timer_id) WHERE timer_id IS NOT NULL`)
	is.True(err != nil)

	// Migrate finds an index of that name, and does not take it for what it is not.
	_, err = queue.Outbox{}.Migrate(t.Context(), db.Pool)
	var found *queue.SchemaError
	is.True(errors.As(err, &found))
	says(t, found, []string{`"public"."outbox": index "outbox_timer_id_uq" has: it is invalid, since its creation has failed or goes on; needs: UNIQUE INDEX`})

	exec(t, db, `DELETE FROM outbox`)
	exec(t, db, found.Differences[0].Mend)
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
}

func TestMigrate_MakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	schema := created(t)
	for _, tt := range []struct {
		name, from, sql string
		made            []string
	}{
		{"everything", "", ``, []string{`table "outbox"`, `table "outbox_dlq"`}},
		{"nothing", schema, ``, nil},
		{"the dead-letter table of a table from Alembic", alembic(t), `DROP TABLE outbox_dlq`, []string{`table "public"."outbox_dlq"`}},
		{"the rest of a migration that ended half way", schema, `DROP INDEX outbox_lease_idx; DROP TABLE outbox_dlq`,
			[]string{`"public"."outbox": index "outbox_lease_idx"`, `table "public"."outbox_dlq"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema(tt.from))
			exec(t, db, tt.sql)
			made, err := queue.Outbox{}.Migrate(t.Context(), db.Pool)
			is.NoErr(err)
			is.Equal(len(made), len(tt.made))
			for i, d := range made {
				is.True(strings.HasPrefix(d.String(), tt.made[i]+" is missing"))
			}
			is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
			again, err := queue.Outbox{}.Migrate(t.Context(), db.Pool)
			is.NoErr(err)
			is.Equal(again, nil)
		})
	}
}

func TestMigrate_DoesNothingByHalves(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `DROP TABLE outbox_dlq; ALTER TABLE outbox DROP COLUMN headers; ALTER TABLE outbox ALTER created_at DROP DEFAULT`)
	_, err := queue.Outbox{}.Migrate(t.Context(), db.Pool)
	var found *queue.SchemaError
	is.True(errors.As(err, &found))
	says(t, found, []string{
		`"public"."outbox": column "headers" is missing; needs: jsonb`,
		`"public"."outbox": column "created_at" has: no default; needs: DEFAULT now()`,
	})
	var there bool
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT to_regclass('outbox_dlq') IS NOT NULL`).Scan(&there))
	is.True(!there)
}

func TestMigrate_IsPartOfTheTransactionItIsGiven(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	_, err = queue.Outbox{}.Migrate(t.Context(), tx)
	is.NoErr(err)
	is.NoErr(queue.Outbox{}.Validate(t.Context(), tx))
	_, err = queue.New("q").Publish(t.Context(), tx, nil) // Validate has left it as it was
	is.NoErr(err)
	is.NoErr(tx.Rollback(t.Context()))
	is.True(errors.Is(queue.Outbox{}.Validate(t.Context(), db.Pool), queue.ErrNoTable))
}

func TestMigrate_ByManyAtOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	var wg sync.WaitGroup
	errs, made := make([]error, 8), make([][]queue.Difference, 8)
	for i := range errs {
		o := queue.Outbox{}
		if i%2 == 0 {
			o.Schema = "public" // the same table
		}
		wg.Go(func() { made[i], errs[i] = o.Migrate(t.Context(), db.Pool) })
	}
	wg.Wait()
	all := 0
	for i, err := range errs {
		is.NoErr(err)
		all += len(made[i])
	}
	is.Equal(all, 2) // one made both tables
}

// CREATE INDEX IF NOT EXISTS would wait for the writer, and hold up all that
// come after it.
func TestMigrate_WaitsForNobodyWhereNothingIsMissing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = queue.New("q").Publish(t.Context(), tx, nil)
	is.NoErr(err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE outbox_dlq IN EXCLUSIVE MODE`)
	is.NoErr(err)

	hurried := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["lock_timeout"] = "1ms" })
	is.NoErr(queue.Outbox{}.Create(t.Context(), hurried))
	is.NoErr(queue.Outbox{}.Validate(t.Context(), hurried))
}

func TestMigrate_PutsThingsWhereTheOthersAre(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `CREATE SCHEMA first; DROP TABLE outbox_dlq; DROP INDEX outbox_lease_idx`)
	pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["search_path"] = "first, public" })
	_, err := queue.Outbox{}.Migrate(t.Context(), pool)
	is.NoErr(err)
	is.NoErr(queue.Outbox{Schema: "public"}.Validate(t.Context(), pool))
	var n int
	is.NoErr(pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'first'::regnamespace`).Scan(&n))
	is.Equal(n, 0)
}

func TestSchema_OfStrangeNames(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	o := queue.Outbox{Schema: `a "schema"`, Table: `Out'box {x}`, DeadLetters: `dead\letters`}

	err := o.Create(t.Context(), db.Pool)
	var found *queue.SchemaError
	is.True(errors.As(err, &found))
	says(t, found, []string{
		`schema "a \"schema\"" is missing; needs: a schema for the tables; mend: CREATE SCHEMA "a ""schema"""`,
		`table "a ""schema"""."Out'box {x}" is missing`,
		`table "a ""schema"""."dead\letters" is missing`,
	})
	is.True(errors.Is(err, queue.ErrNoTable))

	exec(t, db, found.Differences[0].Mend)
	is.NoErr(o.Create(t.Context(), db.Pool))
	exec(t, db, `ALTER TABLE "a ""schema"""."Out'box {x}" ALTER queue DROP NOT NULL, DROP CONSTRAINT "Out'box {x}_lease_ck";
		DROP INDEX "a ""schema"""."Out'box {x}_pending_idx"; ALTER TABLE "a ""schema"""."dead\letters" DROP timer_id`)
	is.True(errors.As(o.Validate(t.Context(), db.Pool), &found))
	is.Equal(len(found.Differences), 4)
	for _, d := range found.Differences {
		exec(t, db, d.Mend)
	}
	is.NoErr(o.Validate(t.Context(), db.Pool))
}

// role makes a role of the test's own and a pool that acts as it.
func role(t *testing.T, db *pgtest.DB, name string) *pgxpool.Pool {
	t.Helper()
	exec(t, db, `CREATE ROLE `+name)
	t.Cleanup(func() {
		for _, sql := range []string{`DROP OWNED BY ` + name, `DROP ROLE ` + name} {
			if _, err := db.Pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
				t.Error(err)
			}
		}
	})
	return db.Connect(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `SET ROLE `+name)
			return err
		}
	})
}

func TestValidate_NeedsNoRights(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app`)
	o := queue.Outbox{Schema: "app"}
	is.NoErr(o.Create(t.Context(), db.Pool))
	pool := role(t, db, "letterbox_looks_on")
	is.NoErr(o.Validate(t.Context(), pool))
	is.NoErr(o.Create(t.Context(), pool)) // nothing to do
	exec(t, db, `ALTER TABLE app.outbox ALTER created_at DROP DEFAULT`)
	var found *queue.SchemaError
	is.True(errors.As(o.Validate(t.Context(), pool), &found))
	says(t, found, []string{`"app"."outbox": column "created_at" has: no default`})
}

func TestWarnings_NameThePrivilegesThatARoleLacks(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app`)
	o := queue.Outbox{Schema: "app"}
	is.NoErr(o.Create(t.Context(), db.Pool))
	exec(t, db, `ALTER TABLE app.outbox ALTER id DROP IDENTITY; CREATE SEQUENCE app.ids OWNED BY app.outbox.id;
		ALTER TABLE app.outbox ALTER id SET DEFAULT nextval('app.ids'); ALTER TABLE app.outbox ENABLE ROW LEVEL SECURITY`)
	pool := role(t, db, "letterbox_lacks_rights")
	exec(t, db, `GRANT INSERT ON app.outbox TO letterbox_lacks_rights`)

	found, err := o.Warnings(t.Context(), pool)
	is.NoErr(err)
	lines := make([]string, len(found))
	for i, w := range found {
		lines[i] = w.String()
	}
	is.Equal(strings.Join(lines, "\n"), strings.TrimSpace(`
"app"."outbox": privilege "letterbox_lacks_rights" has: none; needs: USAGE on the sequence app.ids, to publish; mend: GRANT USAGE ON SEQUENCE app.ids TO "letterbox_lacks_rights"
"app"."outbox": privilege "letterbox_lacks_rights" has: none; needs: USAGE on the schema "app"; mend: GRANT USAGE ON SCHEMA "app" TO "letterbox_lacks_rights"
"app"."outbox": privilege "letterbox_lacks_rights" has: INSERT; needs: SELECT, INSERT, UPDATE, DELETE (to publish, SELECT and INSERT are enough); mend: GRANT SELECT, UPDATE, DELETE ON "app"."outbox" TO "letterbox_lacks_rights"
table "app"."outbox" has: row level security, which may hide some; needs: every row for the role "letterbox_lacks_rights"
"app"."outbox_dlq": privilege "letterbox_lacks_rights" has: none; needs: USAGE on the schema "app"; mend: GRANT USAGE ON SCHEMA "app" TO "letterbox_lacks_rights"
"app"."outbox_dlq": privilege "letterbox_lacks_rights" has: none; needs: SELECT, INSERT (to publish, none is needed); mend: GRANT SELECT, INSERT ON "app"."outbox_dlq" TO "letterbox_lacks_rights"`))
	for _, w := range found {
		if w.Part == queue.PartPrivilege {
			exec(t, db, w.Mend)
		}
	}
	found, err = o.Warnings(t.Context(), pool)
	is.NoErr(err)
	is.Equal(len(found), 1) // row level security is somebody's decision
}

// A schema that may not be used hides its tables from the search_path.
func TestValidate_TellsAForbiddenTableFromAMissingOne(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	exec(t, db, `CREATE SCHEMA app`)
	is.NoErr(queue.Outbox{Schema: "app"}.Create(t.Context(), db.Pool))
	pool := role(t, db, "letterbox_kept_out")
	_, err := pool.Exec(t.Context(), `SELECT 1`)
	is.NoErr(err)
	err = queue.Outbox{}.Validate(t.Context(), pool)
	var found *queue.SchemaError
	is.True(errors.As(err, &found))
	is.True(strings.Contains(found.Differences[0].Have, `does not find "app"."outbox", whose schema the role "letterbox_kept_out" may not use`))
}

func TestWarnings_OfSettingsAndChecks(t *testing.T) {
	t.Parallel()
	schema := created(t)
	for _, tt := range []struct{ name, sql, says string }{
		{"none", ``, ""},
		{"other values that serve", `ALTER TABLE outbox SET (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_cost_delay = 1)`, ""},
		{"a setting that is missing", `ALTER TABLE outbox RESET (autovacuum_vacuum_insert_threshold)`,
			`"public"."outbox": setting "autovacuum_vacuum_insert_threshold" is missing; needs: 1000`},
		{"a setting with another value", `ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.2)`,
			`"public"."outbox": setting "autovacuum_vacuum_scale_factor" has: 0.2; needs: 0`},
		{"no autovacuum", `ALTER TABLE outbox SET (autovacuum_enabled = off)`,
			`"public"."outbox": setting "autovacuum_enabled" has: off; needs: true`},
		{"a check that is not validated", `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck,
			ADD CONSTRAINT k CHECK ((acquired_token IS NULL) = (acquired_at IS NULL)) NOT VALID`,
			`"public"."outbox": check "k" has: NOT VALID; needs: a check that held for every row when it was made`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema(schema))
			exec(t, db, tt.sql)
			is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool)) // none of it is an error
			found, err := queue.Outbox{}.Warnings(t.Context(), db.Pool)
			is.NoErr(err)
			if tt.says == "" {
				is.Equal(found, nil)
				return
			}
			is.Equal(len(found), 1)
			is.True(strings.HasPrefix(found[0].String(), tt.says))
			exec(t, db, found[0].Mend)
			found, err = queue.Outbox{}.Warnings(t.Context(), db.Pool)
			is.NoErr(err)
			is.Equal(found, nil)
		})
	}
}

func TestValidate_SaysThatTheDatabaseCannotBeReached(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := queue.Outbox{}.Validate(ctx, db.Pool)
	var found *queue.SchemaError
	is.True(err != nil && !errors.As(err, &found))
	is.True(errors.Is(err, context.Canceled))
}

// PostgreSQL 18 has checks that check nothing.
func TestValidate_TakesNoCheckThatIsNotEnforced(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	var version int
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&version))
	if version < 180000 {
		t.Skip("before PostgreSQL 18 every check is enforced")
	}
	exec(t, db, `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck,
		ADD CONSTRAINT k CHECK ((acquired_token IS NULL) = (acquired_at IS NULL)) NOT ENFORCED`)
	var found *queue.SchemaError
	is.True(errors.As(queue.Outbox{}.Validate(t.Context(), db.Pool), &found))
	says(t, found, []string{`"public"."outbox": check "outbox_lease_ck" is missing`})
	exec(t, db, found.Differences[0].Mend)
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
}
