package postgres_test

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

func TestDoctor_FindsWhatBecameOfAMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, err := postgres.Bind(postgres.Names{})
	is.NoErr(err)
	db := pgtest.New(t, pgtest.Schema(table.Schema()))
	_, err = db.Pool.Exec(t.Context(), `
		INSERT INTO outbox (id, queue, payload) VALUES (7, 'q', '');
		INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failed_at, failure_reason)
		VALUES (8, 'q', '', 1, now(), '2020-01-01Z', 'rejected'), (8, 'r', '', 1, now(), 'infinity', 'decode_error')`)
	is.NoErr(err)

	name, ok, err := table.QueueOf(t.Context(), db.Pool, 7)
	is.NoErr(err)
	is.True(ok && name == "q")
	_, ok, err = table.QueueOf(t.Context(), db.Pool, 8)
	is.NoErr(err)
	is.True(!ok)

	died, ok, err := table.DiedAs(t.Context(), db.Pool, 8)
	is.NoErr(err)
	is.True(ok && !died.At.IsZero()) // the last, whose time no time.Time can hold
	died.At = time.Time{}
	is.Equal(died, postgres.Died{Letter: 2, Queue: "r", Reason: "decode_error"})
	_, ok, err = table.DiedAs(t.Context(), db.Pool, 7)
	is.NoErr(err)
	is.True(!ok)
}

func TestAsleep_CountsThoseWhoToldThatTheySleep(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, err := postgres.Bind(postgres.Names{Table: `o'"ut`})
	is.NoErr(err)
	db := pgtest.New(t)
	conn, err := db.Pool.Acquire(t.Context())
	is.NoErr(err)
	defer conn.Release()
	count := func(queue string) int {
		n, err := table.Asleep(t.Context(), db.Pool, queue)
		is.NoErr(err)
		return n
	}
	const lock = `SELECT pg_advisory_lock_shared(hashtextextended($1 || '/' || q, 2)) FROM unnest($2::text[]) AS q`
	// Of twenty keys some are below zero, as bigint, in either half.
	queues := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"}
	_, err = conn.Exec(t.Context(), lock, table.Channel(), queues)
	is.NoErr(err)
	for _, q := range queues {
		is.Equal(count(q), 1) // of the queue
	}
	is.Equal(count("z"), 0)

	_, err = conn.Exec(t.Context(), `SELECT pg_advisory_unlock_all(), pg_advisory_lock(hashtextextended($1 || '/a', 2))`, table.Channel())
	is.NoErr(err)
	is.Equal(count("a"), 0) // that is how a publisher looks
}
