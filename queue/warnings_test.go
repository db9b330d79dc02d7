package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// role makes a role of the test's own and a pool that acts as it.
func role(t *testing.T, db *pgtest.DB, name string) *pgxpool.Pool {
	t.Helper()
	exec(t, db, `DO $$ BEGIN CREATE ROLE `+name+`; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
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
