package queue_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
	"github.com/letterbox-go/letterbox/queue"
)

// named gives a pool whose sessions have an application's name.
func named(t *testing.T, db *pgtest.DB, application string) *pgxpool.Pool {
	t.Helper()
	return db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = application })
}

// begin starts a transaction that lasts until the test ends.
func begin(t *testing.T, pool *pgxpool.Pool, options pgx.TxOptions, sql string) (pid int32) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	tx, err := pool.BeginTx(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(ctx) })
	var ignored string
	if err := tx.QueryRow(ctx, "SELECT pg_backend_pid(), ("+sql+")::text").Scan(&pid, &ignored); err != nil {
		t.Fatal(err)
	}
	return pid
}

// use takes transaction ids, so that what came before is older.
func use(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	for range n {
		run(t, pool, "SELECT pg_current_xact_id()")
	}
}

func TestUpkeep_TellsOfBothTables(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	fillStates(t, db, "q", 500)
	before, err := queue.Outbox{}.Upkeep(t.Context(), db.Pool)
	is.NoErr(err)
	is.True(before.Outbox.LastVacuum.IsZero() && before.Outbox.LastAnalyze.IsZero())
	run(t, db.Pool, "ALTER TABLE outbox_dlq SET (autovacuum_enabled = off)")
	run(t, db.Pool, "VACUUM ANALYZE outbox")
	u := before
	counted := func() bool {
		return !u.Outbox.LastVacuum.IsZero() && !u.Outbox.LastAnalyze.IsZero() && u.Outbox.LiveRows > 0
	}
	for end := time.Now().Add(20 * time.Second); !counted() && time.Now().Before(end); { // PostgreSQL 14 counts later, bit by bit
		u, err = queue.Outbox{}.Upkeep(t.Context(), db.Pool)
		is.NoErr(err)
	}
	is.True(u.Outbox.LiveRows >= 2000 && u.Outbox.LiveRows <= 4000) // an estimate
	is.Equal(u.Outbox.DeadRows, int64(0))
	is.True(u.Outbox.TableBytes > 100_000 && u.Outbox.IndexBytes > 100_000)
	is.True(u.Outbox.FrozenAge > 0)
	for _, at := range []time.Time{u.Outbox.LastVacuum, u.Outbox.LastAnalyze} {
		is.True(at.After(before.At) && !at.After(u.At))
	}
	is.True(u.Outbox.Autovacuum)
	is.True(u.DeadLetters != nil && !u.DeadLetters.Autovacuum && u.DeadLetters.LastVacuum.IsZero())
	is.True(u.DeadLetters.TableBytes > 0)
}

func TestUpkeep_NamesWhoHoldsVacuumBack(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	elsewhere := newOutbox(t)

	report := begin(t, named(t, db, "monthly report"), pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, "1")
	use(t, db.Pool, 5)
	writer := begin(t, named(t, db, "forgotten write"), pgx.TxOptions{}, "pg_current_xact_id()")
	use(t, db.Pool, 5)
	begin(t, elsewhere.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, "1") // of another database
	// Read committed: it holds none between statements.
	idle, err := named(t, db, "no snapshot").Begin(t.Context())
	is.NoErr(err)
	defer func() { is.NoErr(idle.Rollback(t.Context())) }()
	_, err = idle.Exec(t.Context(), "SELECT 1", pgx.QueryExecModeSimpleProtocol)
	is.NoErr(err)

	u, err := queue.Outbox{}.Upkeep(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(u.Hidden, 0)
	held := map[string]queue.Holder{}
	for i, h := range u.Holders { // autovacuum may be among them
		held[h.Application] = h
		is.True(i == 0 || h.Age <= u.Holders[i-1].Age)
		is.True(h.PID > 0 && h.Kind == queue.HolderSession)
	}
	first, second := held["monthly report"], held["forgotten write"]
	is.Equal(first.PID, report)
	is.Equal(first.State, "idle in transaction")
	is.Equal(first.User, db.Pool.Config().ConnConfig.User)
	is.True(first.Age >= 11 && first.Open > 0 && first.Open < time.Minute)
	is.Equal(second.PID, writer)
	is.True(second.Age >= 6 && second.Age <= first.Age) // equal where a transaction of another test is older than both
	_, ok := held["no snapshot"]
	is.True(!ok)
	is.Equal(first.String(), fmt.Sprintf(`session pid %d of %q (monthly report), idle in transaction, open for %v, %d transactions old`,
		report, first.User, first.Open.Round(time.Millisecond), first.Age))

	// What a role may not see it is told of.
	hidden, err := queue.Outbox{}.Upkeep(t.Context(), withRole(t, db, "SELECT ON outbox"))
	is.NoErr(err)
	is.True(hidden.Hidden >= 3)
	for _, h := range hidden.Holders {
		is.True(!strings.Contains(h.Application, "report"))
	}
	monitor, err := queue.Outbox{}.Upkeep(t.Context(), withRole(t, db, "pg_read_all_stats"))
	is.NoErr(err)
	is.Equal(monitor.Hidden, 0)
	is.True(len(monitor.Holders) >= 2)
}

func TestUpkeep_ShowsTheWorstTen(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	pool := db.Connect(t, func(c *pgxpool.Config) { c.MaxConns = 12 })
	oldest := begin(t, pool, pgx.TxOptions{}, "pg_current_xact_id()")
	for range 11 {
		begin(t, pool, pgx.TxOptions{}, "pg_current_xact_id()")
	}
	u, err := queue.Outbox{}.Upkeep(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(len(u.Holders), 10)
	is.Equal(u.Holders[0].PID, oldest)
}

// Prepared transactions and slots outlive their sessions. They need a server of
// their own.
func TestUpkeep_NamesWhatOutlivesItsSession(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	ctx := t.Context()
	server, err := pgserver.Start(ctx, pgserver.Config("max_prepared_transactions", "2"), pgserver.Config("wal_level", "replica"),
		pgserver.Config("max_replication_slots", "2"), pgserver.Config("max_wal_senders", "2"))
	is.NoErr(err)
	t.Cleanup(func() { is.NoErr(server.Close()) })
	schema, err := queue.Outbox{}.SQL()
	is.NoErr(err)
	db := pgtest.New(t, pgtest.On(server), pgtest.Schema(schema))
	run(t, db.Pool, "BEGIN; INSERT INTO outbox (queue, payload) VALUES ('q', ''); PREPARE TRANSACTION 'order 7'", pgx.QueryExecModeSimpleProtocol)
	use(t, db.Pool, 3)

	u, err := queue.Outbox{}.Upkeep(ctx, db.Pool)
	is.NoErr(err)
	is.True(len(u.Holders) >= 1)
	h := u.Holders[0]
	is.Equal(h.Kind, queue.HolderPrepared)
	is.Equal(h.Name, "order 7")
	is.Equal(h.PID, int32(0))
	is.Equal(h.User, db.Pool.Config().ConnConfig.User)
	is.True(h.Age >= 3 && h.Open > 0)
	is.True(strings.HasPrefix(h.String(), `prepared "order 7" of "`))
	run(t, db.Pool, "ROLLBACK PREPARED 'order 7'")

	// A standby that is behind, without a slot and with one, and then gone.
	begin(t, named(t, db, "a moment ago"), pgx.TxOptions{}, "pg_current_xact_id()")
	use(t, db.Pool, 1)
	run(t, db.Pool, "SELECT pg_create_physical_replication_slot('standby_2')")
	gone := standby(t, db, "")
	awaitHolder(t, db, queue.HolderStandby, func(h queue.Holder) bool {
		return h.PID == int32(gone.PID()) && h.Application == "standby" && h.Age >= 1 && h.Name == ""
	})
	is.NoErr(gone.Close(ctx))
	gone = standby(t, db, "standby_2")
	awaitHolder(t, db, queue.HolderSlot, func(h queue.Holder) bool {
		return h.Name == "standby_2" && h.State == "active" && h.PID == int32(gone.PID())
	})
	is.NoErr(gone.Close(ctx))
	awaitHolder(t, db, queue.HolderSlot, func(h queue.Holder) bool {
		return h.Name == "standby_2" && h.State == "inactive" && h.PID == 0 && h.Age >= 1
	})
}

// standby connects as a standby does, with a slot or without, and says that its
// oldest snapshot is the oldest that there is now.
func standby(t *testing.T, db *pgtest.DB, slot string) *pgconn.PgConn {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	var xmin uint64
	var place string
	is.NoErr(db.Pool.QueryRow(ctx, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_wal_flush_lsn()::text").Scan(&xmin, &place))
	config, err := pgconn.ParseConfig(db.DSN)
	is.NoErr(err)
	config.RuntimeParams["replication"] = "true"
	config.RuntimeParams["application_name"] = "standby"
	conn, err := pgconn.ConnectConfig(ctx, config)
	is.NoErr(err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	if slot != "" {
		slot = "SLOT " + slot
	}
	conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION " + slot + " PHYSICAL " + place})
	is.NoErr(conn.Frontend().Flush())
	for copying := false; !copying; {
		message, err := conn.ReceiveMessage(ctx)
		is.NoErr(err)
		_, copying = message.(*pgproto3.CopyBothResponse)
	}
	feedback := []byte{'h'}
	feedback = binary.BigEndian.AppendUint64(feedback, 0) // the standby's clock, which nothing reads
	feedback = binary.BigEndian.AppendUint32(feedback, uint32(xmin))
	feedback = binary.BigEndian.AppendUint32(feedback, uint32(xmin>>32)) // the epoch
	feedback = binary.BigEndian.AppendUint64(feedback, 0)                // no slots of its own
	conn.Frontend().Send(&pgproto3.CopyData{Data: feedback})
	is.NoErr(conn.Frontend().Flush())
	return conn
}

// awaitHolder waits until one of a kind is as expected.
func awaitHolder(t *testing.T, db *pgtest.DB, kind queue.HolderKind, ok func(queue.Holder) bool) {
	t.Helper()
	var last []queue.Holder
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		u, err := queue.Outbox{}.Upkeep(t.Context(), db.Pool)
		if err != nil {
			t.Fatal(err)
		}
		if last = u.Holders; slices.ContainsFunc(last, func(h queue.Holder) bool { return h.Kind == kind && ok(h) }) {
			return
		}
	}
	t.Fatalf("no such %s among %v", kind, last)
}
