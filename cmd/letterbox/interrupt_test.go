//go:build unix

package main

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// gate makes the third batch of 10 wait until the test unlocks it, whatever is done to letters: deleting from their table is
// part of a replay and of a purge.
func gate(t *testing.T, db *pgtest.DB) (open func()) {
	t.Helper()
	execute(t, db, `
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF OLD.id = 25 THEN PERFORM pg_advisory_xact_lock(25); END IF;
			RETURN OLD;
		END $$;
		CREATE TRIGGER wait BEFORE DELETE ON outbox_dlq FOR EACH ROW EXECUTE FUNCTION wait()`)
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }) // where the test ends early
	if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(25)`); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadWork_StopsBetweenBatchesAtInterrupt(t *testing.T) {
	t.Parallel()
	for verb, did := range map[string]string{"replay": "moved", "purge": "purged"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := made(t)
			letters(t, db, "q", 1000)
			open := gate(t, db)
			c := prepare(t, db.DSN, "dlq", verb, "--queue", "q", "--batch", "10", "--yes")
			c.begin(t)
			await(t, "two batches, and a third that is under way", func() bool {
				return ask[int](t, db, `SELECT count(*) FROM outbox_dlq`) == 980 &&
					ask[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
						AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
			})
			is.NoErr(c.Process.Signal(syscall.SIGINT))
			await(t, "that it will stop", func() bool { return strings.Contains(c.errs.String(), "stopping after this batch") })
			open()
			c.end(t).wants(t, 130, "", "letterbox: interrupted; 30 of 1000 dead letters "+did+", which is committed, and the others are as they were\n")
			is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 970)
			if verb == "replay" {
				is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 30)
			}
		})
	}
}

func TestDeadReplay_EndsAtOnceAtASecondInterrupt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	letters(t, db, "q", 100)
	open := gate(t, db)
	c := prepare(t, db.DSN, "dlq", "replay", "--queue", "q", "--batch", "10", "--yes")
	c.begin(t)
	await(t, "two batches", func() bool { return ask[int](t, db, `SELECT count(*) FROM outbox`) == 20 })
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	await(t, "that it will stop", func() bool { return strings.Contains(c.errs.String(), "stopping after this batch") })
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	is.True(c.Wait() != nil)
	open()
	await(t, "the end of the server's part", func() bool {
		return ask[int](t, db, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'letterbox' AND datname = current_database()`) == 0
	})
	there := ask[int](t, db, `SELECT count(*) FROM outbox`)
	is.Equal(there+ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 100) // each letter is either here or there
	is.Equal(there%10, 0)
}

func TestMigrateUp_DoesNothingWhereItIsInterrupted(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	_, err = tx.Exec(t.Context(), `CREATE TABLE outbox ()`) // so that another has to wait
	is.NoErr(err)

	letterbox(t, db, "migrate", "up", "--timeout", "200ms").wants(t, 1, "", "the database did not answer in time (see --timeout)")

	c := prepare(t, db.DSN, "migrate", "up")
	c.begin(t)
	await(t, "that it waits", func() bool {
		return ask[bool](t, db, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'letterbox' AND wait_event_type = 'Lock')`)
	})
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	c.end(t).wants(t, 130, "", "letterbox: interrupted")
	is.NoErr(tx.Rollback(t.Context()))
	is.Equal(ask[int](t, db, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`), 0)
}
