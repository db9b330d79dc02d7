package queue_test

import (
	"context"
	"errors"
	"os"
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
		{"an operator class of the same order", `DROP INDEX outbox_timer_id_uq;
			CREATE UNIQUE INDEX outbox_timer_id_uq ON outbox (queue varchar_ops, timer_id varchar_ops) WHERE timer_id IS NOT NULL`},
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

func TestValidate_OfANamedSchemaLooksNowhereElse(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t, pgtest.Schema(created(t)))
	exec(t, db, `CREATE SCHEMA app`)
	var found *queue.SchemaError
	is.True(errors.As(queue.Outbox{Schema: "app"}.Validate(t.Context(), db.Pool), &found))
	says(t, found, []string{`table "app"."outbox" is missing; needs: a table`, `table "app"."outbox_dlq" is missing; needs: a table`})
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

// However statements are sent, as through PgBouncer.
func TestValidate_InEachModeOfPgx(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t)
			pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			is.NoErr(queue.Outbox{}.Create(t.Context(), pool))
			is.NoErr(queue.Outbox{}.Validate(t.Context(), pool))
			warnings, err := queue.Outbox{}.Warnings(t.Context(), pool)
			is.NoErr(err)
			is.Equal(warnings, nil)
			is.NoErr(queue.Outbox{}.Ping(t.Context(), pool))
			exec(t, db, `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck, ADD CHECK (acquired_at IS NULL)`)
			var found *queue.SchemaError
			is.True(errors.As(queue.Outbox{}.Validate(t.Context(), pool), &found))
			is.Equal(len(found.Differences), 1)
		})
	}
}
