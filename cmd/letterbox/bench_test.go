package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

const schemas = `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'letterbox\_scratch\_%'`

func TestBench_MeasuresAndLeavesNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	execute(t, db, `CREATE SCHEMA letterbox_scratch_killed; COMMENT ON SCHEMA letterbox_scratch_killed IS 'made by letterbox bench, which drops it';
		CREATE SCHEMA letterbox_scratch_mine; CREATE TABLE letterbox_scratch_mine.kept ()`)
	r := letterbox(t, db, "bench", "--messages", "500", "--samples", "5", "--json")
	r.wants(t, 0, "", "500 messages of 100 bytes")
	m := object[measured](t, r)
	is.Equal(m.Messages, 500)
	is.True(m.Publish > 0 && m.Drain > 0 && m.P50 > 0 && m.P99 >= m.P50)
	is.Equal(ask[int](t, db, schemas), 1)
	is.Equal(ask[int](t, db, `SELECT count(*) FROM letterbox_scratch_mine.kept`), 0)
	letterbox(t, db, "bench", "--messages", "10", "--samples", "1").wants(t, 0, "messages/s\nstart ", "")
	letterbox(t, db, "bench", "--samples", "0").wants(t, 2, "", "are 1 at least")
}

func TestBench_CleansUpAtInterrupt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	c := prepare(t, db.DSN, "bench", "--messages", "100000000")
	c.begin(t)
	await(t, "messages", func() bool { return strings.Contains(c.errs.String(), "in schema") && ask[int](t, db, schemas) == 1 })
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	c.end(t).wants(t, 130, "", "letterbox: interrupted")
	is.Equal(ask[int](t, db, schemas), 0)
}

func TestBench_SaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	c := prepare(t, db.DSN, "bench")
	c.Env = append(c.Env, "PGOPTIONS=-c role=pg_monitor") // which owns nothing
	c.run(t).wants(t, 1, "", "it needs CREATE on the database")
}
