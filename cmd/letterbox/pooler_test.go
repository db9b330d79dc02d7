//go:build unix

package main

import (
	"testing"

	"github.com/matryer/is"
)

func TestPooler_IsNoticedAndWorkedThrough(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	dsn := db.Bouncer(t)
	through := func(args ...string) result { return prepare(t, dsn, args...).run(t) }

	r := through("doctor", "--json")
	e := object[examined](t, r)
	e.has(t, "connection", fine, "through a pooler")
	e.has(t, "notify", warning, "as PgBouncer does in transaction mode")
	is.True(e.OK)
	through("bench").wants(t, 1, "", "a pooler stands before the server")

	// Everything else is as without it, again and again, for the same sessions of the server come with what others have left.
	for range 3 {
		through("migrate", "up").wants(t, 0, "nothing is missing", "")
		through("publish", "q", "--data", "1").wants(t, 0, "", "")
		letters(t, db, "q", 20)
		through("dlq", "list").wants(t, 0, "timeout 20", "")
		through("dlq", "replay", "--queue", "q", "--batch", "7", "--yes").wants(t, 0, "moved 20 dead letters", "")
		through("peek", "q").wants(t, 0, "", "")
		through("status").wants(t, 0, "q", "")
		through("validate").wants(t, 0, "ok", "")
	}
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 63)
}
