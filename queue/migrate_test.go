package queue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

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
	for _, isolation := range []string{"read committed", "repeatable read", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			pool := pgtest.New(t).Connect(t, func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
			})
			var wg sync.WaitGroup
			errs, made := make([]error, 8), make([][]queue.Difference, 8)
			for i := range errs {
				o := queue.Outbox{}
				if i%2 == 0 {
					o.Schema = "public" // the same table
				}
				wg.Go(func() { made[i], errs[i] = o.Migrate(t.Context(), pool) })
			}
			wg.Wait()
			all := 0
			for i, err := range errs {
				is.NoErr(err)
				all += len(made[i])
			}
			is.Equal(all, 2) // one made both tables
		})
	}
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
