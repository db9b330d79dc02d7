package postgres

import (
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/store"
)

// FuzzTables is FuzzNames with PostgreSQL as the judge: tables of any name that is
// not refused can be created, twice, have just these names, and serve every
// statement.
func FuzzTables(f *testing.F) {
	for _, seed := range [][3]string{
		{"", "outbox", ""}, {"my schema", `Out"box`, "dead.letters"}, {`"; DROP TABLE x; --`, `'; DROP TABLE x; --`, `\'`},
		{"{outbox}", "{dlq}", "{tell:queue}"}, {"$1", "$$", "E'"}, {"public", strings.Repeat("ä", 25), "/* */"}, {"a", "b", "b_lease_idx"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	db := pgtest.New(f)
	f.Fuzz(func(t *testing.T, schema, table, deadLetters string) {
		bound, err := Bind(Names{Schema: schema, Table: table, DeadLetters: deadLetters})
		if err != nil {
			return
		}
		if strings.HasPrefix(schema, "pg_") || schema == "information_schema" {
			return // PostgreSQL's own
		}
		is := is.New(t)
		ctx := t.Context()
		tx, err := db.Pool.Begin(ctx)
		is.NoErr(err)
		defer func() { is.NoErr(tx.Rollback(ctx)) }() // and with it all the tables
		if schema != "" && schema != "public" {
			_, err = tx.Exec(ctx, "CREATE SCHEMA "+quote(schema))
			is.NoErr(err)
		}
		const relations = `SELECT format('%s %s', relkind, relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
			WHERE nspname = COALESCE(NULLIF($1, ''), 'public') ORDER BY relname COLLATE "C"`
		create := func() {
			_, now, err := bound.Migrate(ctx, tx)
			is.NoErr(err)
			is.Equal(len(now.Differences), 0)
		}
		create()
		created := list(t, tx, relations, schema)
		is.Equal(len(created), 2*3+4) // two tables, each with a key and a sequence, and four indexes
		for _, name := range []string{bound.names.Table, bound.names.DeadLetters} {
			is.True(strings.Contains("\n"+strings.Join(created, "\n")+"\n", "\nr "+name+"\n"))
		}
		create()
		is.Equal(list(t, tx, relations, schema), created)

		for _, notify := range []Notify{NotifySleeping, NotifyAlways, NotifyNever} {
			useAll(t, tx, bound.Notifying(notify))
		}
	})
}

func list(t *testing.T, tx pgx.Tx, sql string, args ...any) []string {
	t.Helper()
	rows, err := tx.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// useAll has PostgreSQL analyse every statement on the table, and runs what
// publishes.
func useAll(t *testing.T, tx pgx.Tx, bound *Table) {
	t.Helper()
	eachStatement(reflect.ValueOf(bound.sql), func(sql string) {
		if _, err := tx.Conn().PgConn().Prepare(t.Context(), "", sql, nil); err != nil {
			t.Fatalf("%v:\n%s", err, sql)
		}
	})
	drafts := make([]store.Draft, copyFrom)
	for i := range drafts {
		drafts[i] = store.Draft{Queue: "q", Headers: []byte("{}")}
	}
	for _, n := range []int{1, 2, copyFrom} {
		ids, err := bound.Publish(t.Context(), tx, drafts[:n])
		if err != nil || len(ids) != n {
			t.Fatalf("publish %d to %s: %d ids, %v", n, bound, len(ids), err)
		}
	}
	if _, err := bound.CountTimers(t.Context(), tx, store.TimerFilter{}); err != nil {
		t.Fatal(err)
	}
}

// eachStatement calls f with every string in a struct of structs.
func eachStatement(v reflect.Value, f func(sql string)) {
	if v.Kind() == reflect.String {
		f(v.String())
		return
	}
	for i := range v.NumField() {
		eachStatement(v.Field(i), f)
	}
}
