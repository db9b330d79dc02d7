package postgres

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

func describe(t *testing.T, db *pgtest.DB, sql string, args ...any) string {
	t.Helper()
	rows, err := db.Pool.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

const (
	columnsSQL = `SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'not null' END,
			pg_get_expr(adbin, adrelid), CASE attidentity WHEN 'd' THEN 'identity' END)
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum`
	indexesSQL = `SELECT indexdef FROM pg_indexes WHERE tablename = $1 ORDER BY indexname`
	checksSQL  = `SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'`
)

// The tables are a contract with writers in other languages: written out here,
// not computed.
func TestSchema_IsTheContract(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, db := newTable(t)
	is.Equal(describe(t, db, columnsSQL, "outbox"), strings.TrimSpace(`
id bigint not null identity
queue character varying(255) not null
payload bytea not null
headers jsonb
attempts_count bigint not null 0
deliveries_count bigint not null 0
created_at timestamp with time zone not null now()
next_attempt_at timestamp with time zone not null now()
first_attempt_at timestamp with time zone
last_attempt_at timestamp with time zone
acquired_at timestamp with time zone
acquired_token uuid
timer_id character varying(255)`))
	is.Equal(describe(t, db, indexesSQL, "outbox"), strings.TrimSpace(`
CREATE INDEX outbox_lease_idx ON public.outbox USING btree (queue, acquired_at) WHERE (acquired_token IS NOT NULL)
CREATE INDEX outbox_pending_idx ON public.outbox USING btree (queue, next_attempt_at) WHERE (acquired_token IS NULL)
CREATE UNIQUE INDEX outbox_pkey ON public.outbox USING btree (id)
CREATE UNIQUE INDEX outbox_timer_id_uq ON public.outbox USING btree (queue, timer_id) WHERE (timer_id IS NOT NULL)`))
	is.Equal(describe(t, db, checksSQL, "outbox"), `outbox_lease_ck CHECK (((acquired_token IS NULL) = (acquired_at IS NULL)))`)
	is.Equal(describe(t, db, columnsSQL, "outbox_dlq"), strings.TrimSpace(`
id bigint not null identity
original_id bigint not null
queue character varying(255) not null
payload bytea not null
headers jsonb
deliveries_count bigint not null
created_at timestamp with time zone not null
failed_at timestamp with time zone not null now()
failure_reason character varying(64) not null
last_exception text
timer_id character varying(255)`))
	is.Equal(describe(t, db, indexesSQL, "outbox_dlq"), strings.TrimSpace(`
CREATE UNIQUE INDEX outbox_dlq_pkey ON public.outbox_dlq USING btree (id)
CREATE INDEX outbox_dlq_queue_failed_idx ON public.outbox_dlq USING btree (queue, failed_at)`))
	is.True(strings.Contains(describe(t, db, `SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE oid = 'outbox'::regclass`),
		"autovacuum_vacuum_scale_factor=0 "))
}

// What is compared with is written down apart from what is created, in other
// words: they must agree in both directions.
func TestShapes_AreWhatTheMigrationsMake(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	report, err := table.Inspect(t.Context(), tx)
	is.NoErr(err)
	is.Equal(report.Differences, nil)
	is.Equal(report.Warnings, nil)
	for _, s := range table.steps() {
		for _, r := range s.makes {
			var columns, indexes []string
			for _, c := range r.columns {
				columns = append(columns, c.name)
			}
			for _, x := range r.indexes {
				indexes = append(indexes, x.name)
			}
			slices.Sort(indexes)
			is.Equal(strings.Join(columns, "\n"), describe(t, db,
				`SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 ORDER BY attnum`, r.name))
			is.Equal(strings.Join(indexes, "\n"), describe(t, db,
				`SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = $1::regclass ORDER BY name`, r.name))
		}
	}
}

func TestMigrations_ArePlainSQL(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	plain, err := Bind(Names{})
	is.NoErr(err)
	strange, err := Bind(Names{Schema: "s", Table: "Out'box{dlq}", DeadLetters: `dead\letters`})
	is.NoErr(err)
	all, err := os.ReadDir("migrations")
	is.NoErr(err)
	is.Equal(len(all), 2*len(plain.Migrations()))
	for i, m := range plain.Migrations() {
		is.Equal(m.Version, i+1)
		for way, sql := range map[string]string{"up": m.Up, "down": m.Down} {
			text, err := os.ReadFile(fmt.Sprintf("migrations/%04d_%s.%s.sql", m.Version, m.Name, way))
			is.NoErr(err)
			is.Equal(string(text), sql) // for the default names it runs as it is
		}
		other := strange.Migrations()[i]
		is.True(!strings.Contains(other.Up+other.Down, `"outbox`)) // every name is replaced
	}
}

func TestMigrations_GoBackAndForth(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	const relations = `SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY relname`
	was := describe(t, db, relations)
	all := table.Migrations()
	for _, m := range slices.Backward(all) {
		_, err := db.Pool.Exec(t.Context(), m.Down, pgx.QueryExecModeSimpleProtocol)
		is.NoErr(err)
	}
	is.Equal(describe(t, db, relations), "")
	for range 2 { // again: it leaves what is there
		for _, m := range all {
			_, err := db.Pool.Exec(t.Context(), m.Up, pgx.QueryExecModeSimpleProtocol)
			is.NoErr(err)
		}
		is.Equal(describe(t, db, relations), was)
	}
}

func TestBind_RefusesNamesThatPostgreSQLWouldCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		names Names
		says  string // "": it is fine
	}{
		{"defaults", Names{}, ""},
		{"longest", Names{Table: strings.Repeat("t", 42)}, ""},
		{"too long with its dead letters", Names{Table: strings.Repeat("t", 43)}, "_dlq_queue_failed_idx"},
		{"longest, with short dead letters", Names{Table: strings.Repeat("t", 51), DeadLetters: "d"}, ""},
		{"too long", Names{Table: strings.Repeat("t", 52), DeadLetters: "d"}, "_pending_idx"},
		{"bytes count, not characters", Names{Table: strings.Repeat("ü", 26), DeadLetters: "d"}, "64 bytes"},
		{"long schema", Names{Schema: strings.Repeat("s", 64)}, "schema"},
		{"NUL", Names{Table: "a\x00"}, "not valid text"},
		{"not UTF-8", Names{DeadLetters: "\xff"}, "not valid text"},
		{"one table for both", Names{Table: "a", DeadLetters: "a"}, `both "a"`},
		{"dead letters like an index", Names{Table: "a", DeadLetters: "a_lease_idx"}, "name of an index"},
		{"dead letters like a sequence", Names{Table: "a", DeadLetters: "a_id_seq"}, "name of an index"},
		{"table like an index of the dead letters", Names{Table: "d_queue_failed_idx", DeadLetters: "d"}, "name of an index"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			_, err := Bind(tt.names)
			if tt.says == "" {
				is.NoErr(err)
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), tt.says))
		})
	}
}
