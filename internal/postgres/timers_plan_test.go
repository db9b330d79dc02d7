package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/store"
)

// future writes timers of one queue that are due in years, with ids that tell
// their number.
func future(t *testing.T, db *pgtest.DB, n int) {
	t.Helper()
	_, err := db.Pool.Exec(t.Context(), `
		INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at)
		SELECT 'q', 'payload', '{}', 'timer ' || n, now() + interval '1 year' + make_interval(secs => n)
		FROM generate_series(1, $1::int) AS n`, n)
	if err != nil {
		t.Fatal(err)
	}
}

// timerPlan is the plan of a statement on timers, run and undone. No pin: it runs
// on a caller's connection.
func timerPlan(t *testing.T, db *pgtest.DB, sql string, args ...any) string {
	t.Helper()
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS) "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestTimers_MillionInTheFuture(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a million rows")
	}
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	ctx := t.Context()
	// Vacuumed while it is empty, and never again: the worst that the planner knows.
	for _, sql := range []string{"ALTER TABLE outbox SET UNLOGGED", "ALTER TABLE outbox SET (autovacuum_enabled = off)", "VACUUM ANALYZE outbox"} {
		_, err := db.Pool.Exec(ctx, sql)
		is.NoErr(err)
	}
	claim := func(due int) int {
		_, err := db.Pool.Exec(ctx, `INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at)
			SELECT 'q', 'payload', '{}', 'due ' || n, now() - interval '1 hour' FROM generate_series(1, $1::int) AS n`, due)
		is.NoErr(err)
		plan := explain(t, db, "ANALYZE, BUFFERS", table.sql.claim, "q", due, uuid.NewString(), "-infinity")
		if strings.Contains(plan, "Seq Scan on outbox") {
			t.Errorf("the claim reads the whole table:\n%s", plan)
		}
		_, err = db.Pool.Exec(ctx, "DELETE FROM outbox WHERE timer_id LIKE 'due %'")
		is.NoErr(err)
		return buffers(t, plan)
	}
	few := claim(100)
	future(t, db, 1_000_000)

	draft := func(id string) *store.Draft {
		return &store.Draft{Queue: "q", TimerID: id, Payload: []byte("x"), Headers: []byte("{}"), Delay: time.Hour}
	}
	batch := func() []any {
		j := joinTimers([]store.Draft{*draft("new 1"), *draft("timer 7"), *draft("timer 8")})
		return []any{j.bytes, j.start.String(), j.queue.String(), j.timer.String(), j.payload.String(), j.headers.String(), j.delay.String(), j.at.String(), 3}
	}
	filter := timerFilterArgs(&store.TimerFilter{Queue: "q"})
	all := timerFilterArgs(&store.TimerFilter{Running: true})
	late := timestamp(time.Now().Add(366 * 24 * time.Hour))
	tests := []struct {
		name, sql string
		args      []any
		most      int // buffers
		index     string
	}{
		{"schedule", table.sql.timers.schedule, timerArgs(draft("new")), 60, "outbox_timer_id_uq"},
		{"schedule again", table.sql.timers.schedule, timerArgs(draft("timer 500000")), 20, "outbox_timer_id_uq"},
		{"batch", table.sql.timers.scheduleMany, batch(), 100, "outbox_timer_id_uq"},
		{"find", table.sql.timers.find, []any{"q", "timer 500000", 1}, 10, "outbox_timer_id_uq"},
		{"reschedule", table.sql.timers.reschedule, append(timerArgs(draft("timer 500000")), 0, nil), 100, "outbox_timer_id_uq"},
		{"rearm", table.sql.timers.rearm, timerArgs(draft("timer 500000")), 20, "outbox_timer_id_uq"},
		{"cancel", table.sql.timers.cancel, []any{"q", "timer 500000", 1}, 40, "outbox_timer_id_uq"},
		{"get", table.sql.timers.get, []any{"q", "timer 500000", 1}, 10, "outbox_timer_id_uq"},
		{"next due", table.sql.timers.nextDue, []any{"q", 1}, 20, "outbox_pending_idx"},
		{"next due of all", table.sql.timers.nextDue, []any{nil, 1}, 500, "outbox_pending_idx"},
		{"first page", table.sql.timers.list, append(filter, "-infinity", 0, 100, 1), 700, "outbox_pending_idx"},
		{"first page of all", table.sql.timers.list, append(all, "-infinity", 0, 100, 1), 800, "outbox_lease_idx"},
		{"late page", table.sql.timers.list, append(filter, late, 0, 100, 1), 700, "outbox_pending_idx"},
	}
	check := func(state string) {
		t.Helper()
		for _, tt := range tests {
			plan := timerPlan(t, db, tt.sql, tt.args...)
			if !strings.Contains(plan, tt.index) {
				t.Errorf("%s, %s: does not use %s:\n%s", state, tt.name, tt.index, plan)
			}
			n := buffers(t, plan)
			for range 3 { // a session that has just begun, or was told of another's tables, reads the catalogs too
				n = min(n, buffers(t, timerPlan(t, db, tt.sql, tt.args...)))
			}
			if n > tt.most {
				t.Errorf("%s, %s: touches %d pages, more than %d:\n%s", state, tt.name, n, tt.most, plan)
			}
		}
		if many := claim(100); float64(many) > 1.5*float64(few) {
			t.Errorf("%s: a claim of 100 touches %d pages, and %d without a million timers in the future", state, many, few)
		}
	}
	check("never analyzed")
	_, err := db.Pool.Exec(ctx, "ANALYZE outbox")
	is.NoErr(err)
	check("analyzed")
}

// A plan made while the table was empty would stay in use while it fills.
func TestTimers_AreNeverPlannedInGeneral(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	ctx := t.Context()
	conn, err := db.Pool.Acquire(ctx)
	is.NoErr(err)
	defer conn.Release()
	d := &store.Draft{Queue: "q", TimerID: "t", Payload: []byte("x"), Headers: []byte("{}"), Delay: time.Hour}
	run := func() {
		for range 8 { // PostgreSQL decides after five
			tx, err := conn.Begin(ctx)
			is.NoErr(err)
			calls := []func() error{
				func() error { _, err := table.ScheduleTimer(ctx, tx, d); return err },
				func() error { _, err := table.ScheduleTimer(ctx, tx, d); return err }, // finds it
				func() error { _, err := table.ScheduleTimers(ctx, tx, []store.Draft{*d}); return err },
				func() error { _, err := table.RescheduleTimer(ctx, tx, d, store.TimerRules{}); return err },
				func() error { _, err := table.CancelTimer(ctx, tx, "q", "t"); return err },
				func() error { _, _, err := table.CancelTimers(ctx, tx, "q", "t"); return err },
				func() error { _, err := table.rearm(ctx, tx, d); return err },
				func() error {
					_, err := table.ListTimers(ctx, tx, store.TimerFilter{}, store.TimerPlace{}, 10)
					return err
				},
				func() error { _, err := table.GetTimer(ctx, tx, "q", "t"); return err },
				func() error { _, err := table.CountTimers(ctx, tx, store.TimerFilter{Queue: "q"}); return err },
				func() error { _, err := table.NextTimer(ctx, tx, ""); return err },
			}
			for _, call := range calls {
				is.NoErr(call())
			}
			is.NoErr(tx.Rollback(ctx))
		}
	}
	count := func() (statements, general int) {
		is.NoErr(conn.QueryRow(ctx, `SELECT count(*), COALESCE(sum(generic_plans), 0) FROM pg_prepared_statements
			WHERE statement LIKE '%generate_series%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&statements, &general))
		return statements, general
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE outbox")
	is.NoErr(err)
	run() // on an empty table
	statements, general := count()
	is.Equal(statements, 11)
	is.Equal(general, 0)

	future(t, db, 20_000)
	_, err = conn.Exec(ctx, "VACUUM ANALYZE outbox")
	is.NoErr(err)
	run() // on a full one
	_, general = count()
	is.Equal(general, 0)
}
