package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
	"github.com/letterbox-go/letterbox/queue"
)

// examined is what doctor found, by the check and the queue.
type examined struct {
	OK     bool
	Checks []finding
}

func doctorOn(t *testing.T, db *pgtest.DB, code int, args ...string) examined {
	t.Helper()
	r := letterbox(t, db, append([]string{"doctor", "--json"}, args...)...)
	r.wants(t, code, "", "")
	e := object[examined](t, r)
	if e.OK != (code == 0) {
		t.Errorf("ok is %v with exit code %d", e.OK, code)
	}
	return e
}

// has checks that a finding is there, and returns it.
func (e examined) has(t *testing.T, check, result, says string) finding {
	t.Helper()
	for _, f := range e.Checks {
		if f.Check == check && f.Result == result && strings.Contains(f.Says, says) {
			return f
		}
	}
	t.Errorf("there is no %s of %s with %q in %+v", result, check, says, e.Checks)
	return finding{}
}

func TestDoctor_OfAHealthyOutbox(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	e := doctorOn(t, db, 0)
	for check, says := range map[string]string{
		"connection": "for a round trip", "clock": "from the database's", "writes": "takes writes", "tables": "as needed",
		"notify": "arrives after", "vacuum": "nothing holds it back", "queue": "no queue holds anything",
	} {
		e.has(t, check, fine, says)
	}
	is.Equal(len(e.Checks), 7)
	letterbox(t, db, "doctor").wants(t, 0, "\n0 problems, 0 warnings\n", "")
}

func TestDoctor_OfTables(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	doctorOn(t, db, 3).has(t, "tables", problem, `table "outbox" is missing`)
	letterbox(t, db, "doctor").wants(t, 3, "do: letterbox migrate up\n", "")

	db = made(t)
	execute(t, db, `DROP INDEX outbox_pending_idx; ALTER TABLE outbox RESET (autovacuum_vacuum_threshold), SET (autovacuum_enabled = off)`)
	e := doctorOn(t, db, 3)
	e.has(t, "tables", problem, `index "outbox_pending_idx"`)
	e.has(t, "tables", warning, "autovacuum_vacuum_threshold")
	e.has(t, "vacuum", problem, "autovacuum is off")
	for _, f := range e.Checks {
		if f.Check == "tables" && f.Result == problem {
			execute(t, db, f.Do)
		}
	}
	is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))
}

func TestDoctor_OfAServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	db := made(t)
	name := ask[string](t, db, `SELECT current_database()`)
	execute(t, db, `ALTER DATABASE `+pgx.Identifier{name}.Sanitize()+` SET default_transaction_read_only = on`)
	e := doctorOn(t, db, 3)
	e.has(t, "writes", problem, "the server takes no writes")
	e.has(t, "queue", fine, "no queue holds anything")
}

func TestDoctor_OfARoleThatMayNotLook(t *testing.T) {
	t.Parallel()
	db := made(t)
	execute(t, db, `REVOKE ALL ON outbox FROM PUBLIC`)
	c := prepare(t, db.DSN, "doctor", "--json")
	c.Env = append(c.Env, "PGOPTIONS=-c role=pg_monitor") // a role that is always there, and owns nothing
	r := c.run(t)
	r.wants(t, 3, "", "")
	e := object[examined](t, r)
	e.has(t, "connection", fine, `as "pg_monitor"`)
	e.has(t, "writes", problem, "permission denied")
	e.has(t, "queue", problem, "looking needs SELECT")
	e.has(t, "notify", fine, "arrives after")
}

func TestDoctor_OfQueues(t *testing.T) {
	t.Parallel()
	db := full(t)
	letterbox(t, db, "pause", "rests", "--new").wants(t, 0, "", "")
	e := doctorOn(t, db, 0)
	e.has(t, "queue", warning, "1 due, the first for ") // one lease is fresh, so there are workers, which do not keep up
	e.has(t, "queue", warning, "do not keep up")
	e.has(t, "queue", warning, "leases that have expired: 1, the oldest ")
	e.has(t, "queue", warning, "dead letters: 1")
	e.has(t, "queue", warning, "it is paused")

	e = doctorOn(t, db, 3, "--queue", "rests")
	e.has(t, "queue", problem, "it is paused")
	doctorOn(t, db, 3, "--queue", "quue").has(t, "queue", problem, `queue "quue" is empty or not known`)

	execute(t, db, `UPDATE outbox SET acquired_at = '2020-01-01Z' WHERE acquired_at IS NOT NULL`)
	e = doctorOn(t, db, 3, "--queue", "q")
	e.has(t, "queue", problem, "no worker is seen")
	e.has(t, "workers", warning, "none is seen")
}

func TestDoctor_OfWorkers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	w, err := queue.NewWorker(db.Pool, queue.New("q").Handle(func(context.Context, *queue.Delivery) error { return nil }))
	is.NoErr(err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	await(t, "that the worker sleeps", func() bool {
		return strings.Contains(letterbox(t, db, "doctor", "--queue", "q").out, "q: 1 worker is asleep")
	})
	doctorOn(t, db, 3, "--queue", "r").has(t, "workers", warning, "none is seen") // it is another queue's
	// One that is empty, and waited for, is known.
	doctorOn(t, db, 0, "--queue", "q").has(t, "queue", fine, "0 due")
	letterbox(t, db, "status", "q").wants(t, 0, "q", "")
	letterbox(t, db, "peek", "q").wants(t, 1, "", `queue "q" has no message that is waiting`)
	letterbox(t, db, "pause", "q").wants(t, 0, `paused queue "q"`, "")
	letterbox(t, db, "resume", "q").wants(t, 0, `resumed queue "q"`, "")
	stop()
	is.NoErr(<-ended)
	doctorOn(t, db, 3, "--queue", "q").has(t, "workers", warning, "none is seen")
}

func TestDoctor_OfAMessage(t *testing.T) {
	t.Parallel()
	db := full(t)
	execute(t, db, `INSERT INTO outbox (queue, payload, next_attempt_at) VALUES ('q', '', 'infinity'), ('q', '', now())`)
	for _, tt := range []struct {
		id, result, says string
		code             int
	}{
		{"1", problem, "message 1 has been due for ", 3},
		{"2", fine, "message 2 waits for its time, in ", 0},
		{"3", warning, "message 3 waits for its next attempt, in ", 0},
		{"3", warning, "it has failed 3 times, last at 2020-01-03 00:00:00Z", 0},
		{"4", fine, "message 4 is with a worker, which last said so ", 0},
		{"5", warning, "message 5 is with a worker that last said so ", 0},
		{"6", problem, "message 6 is never due", 3},
		{"7", fine, "message 7 has been due for ", 0},
		{"99", problem, "there is no message 99", 3},
	} {
		doctorOn(t, db, tt.code, "--message", tt.id).has(t, "message", tt.result, tt.says)
	}
	doctorOn(t, db, 3, "--message", "2", "--queue", "p").has(t, "message", problem, `message 2 is in this queue, not in "p"`)
	execute(t, db, `DELETE FROM outbox WHERE id = 1`)
	e := doctorOn(t, db, 3, "--message", "1")
	e.has(t, "message", problem, "message 1 failed for good at ")
	e.has(t, "message", problem, "(retry_terminal), and is dead letter 1")
	letterbox(t, db, "pause", "q").wants(t, 0, "", "")
	mark := ask[int](t, db, `SELECT max(id) FROM outbox`)
	doctorOn(t, db, 3, "--message", count(int64(mark))).has(t, "message", problem, "marks a queue that is paused")
}

func TestDoctor_OfWhatHoldsVacuumBack(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	execute(t, db, `CREATE TABLE mine ()`)
	conn, err := db.Pool.Acquire(t.Context())
	is.NoErr(err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), `BEGIN`)
	is.NoErr(err)
	_, err = conn.Exec(t.Context(), `INSERT INTO mine DEFAULT VALUES`)
	is.NoErr(err)

	doctorOn(t, db, 0, "--held-for", "24h").has(t, "vacuum", fine, "nothing holds it back")
	held := doctorOn(t, db, 0, "--held-for", "1ms")
	f := held.has(t, "vacuum", warning, fmt.Sprintf("held back by session pid %d ", conn.Conn().PgConn().PID()))
	is.True(strings.Contains(f.Says, "idle in transaction, open for "))
	says, sql, _ := strings.Cut(f.Do, ": ")
	is.Equal(says, "end its transaction, or")
	execute(t, db, sql)
	await(t, "that nothing holds it back any more", func() bool {
		return strings.Contains(letterbox(t, db, "doctor", "--held-for", "1ms").out, "nothing holds it back")
	})
	letterbox(t, db, "doctor", "--held-for", "0").wants(t, 2, "", "--held-for is 0s")
}

// A prepared transaction outlives its session. It needs a server of its own.
func TestDoctor_OfATransactionThatNobodyEnds(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	server, err := pgserver.Start(t.Context(), pgserver.Config("max_prepared_transactions", "2"))
	is.NoErr(err)
	t.Cleanup(func() { is.NoErr(server.Close()) })
	sql, err := queue.Outbox{}.SQL()
	is.NoErr(err)
	db := pgtest.New(t, pgtest.On(server), pgtest.Schema(sql))
	_, err = db.Pool.Exec(t.Context(), `BEGIN; INSERT INTO outbox (queue, payload) VALUES ('q', ''); PREPARE TRANSACTION 'it''s mine'`, pgx.QueryExecModeSimpleProtocol)
	is.NoErr(err)
	f := doctorOn(t, db, 0, "--held-for", "1ms").has(t, "vacuum", warning, `held back by prepared "it's mine"`)
	is.Equal(f.Do, "COMMIT PREPARED or ROLLBACK PREPARED 'it''s mine'")
	execute(t, db, `ROLLBACK PREPARED 'it''s mine'`)
}

func TestDoctor_OfDeadRows(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	execute(t, db, `ALTER TABLE outbox SET (autovacuum_enabled = off)`)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	_, err = tx.Exec(t.Context(), `INSERT INTO outbox (queue, payload) SELECT 'q', '' FROM generate_series(1, 100001)`)
	is.NoErr(err)
	is.NoErr(tx.Rollback(t.Context()))
	await(t, "that PostgreSQL has counted them", func() bool {
		return ask[int](t, db, `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'outbox'`) > 100_000
	})
	e := doctorOn(t, db, 3)
	e.has(t, "vacuum", warning, "outbox has some 100001 dead rows and 0 live ones")
	e.has(t, "vacuum", problem, "autovacuum is off for outbox")
}

// Nobody uses up a thousand million transactions for a test: the catalog is told that they were.
func TestDoctor_OfATableThatWasNeverFrozen(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	if !ask[bool](t, db, `SELECT rolsuper FROM pg_roles WHERE rolname = current_user`) {
		t.Skip("it takes a superuser")
	}
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `LOCK TABLE outbox IN SHARE UPDATE EXCLUSIVE MODE`) // the server's own vacuum would freeze it at once
	is.NoErr(err)
	execute(t, db, `UPDATE pg_class SET relfrozenxid = ((pg_current_xact_id()::text::bigint - 1100000000) & 4294967295)::text::xid WHERE oid = 'outbox'::regclass`)
	doctorOn(t, db, 3).has(t, "vacuum", problem, "outbox is 11000000")
	is.NoErr(tx.Rollback(t.Context()))
	execute(t, db, `VACUUM FREEZE outbox`)
	doctorOn(t, db, 0).has(t, "vacuum", fine, "nothing holds it back")
}
