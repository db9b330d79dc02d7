package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/store"
)

// fiftyThousand letters of five queues, one for each second until now, in an
// order of ids that is not quite that of failed_at.
const fiftyThousand = `
INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failed_at, failure_reason, last_exception, timer_id)
SELECT n, 'queue-' || n % 5, 'payload', 1, now() - interval '1 day', now() - make_interval(secs => 50000 - n + n % 7),
       CASE n % 3 WHEN 0 THEN 'rejected' ELSE 'retry_terminal' END, 'error ' || n, NULLIF(n % 1000, 0)::text || '-' || n
FROM generate_series(1, 50000) AS n;
ANALYZE outbox_dlq`

func TestPlans_OfDeadLettersUseTheIndexes(t *testing.T) {
	t.Parallel()
	table, db := newTable(t)
	if _, err := db.Pool.Exec(t.Context(), fiftyThousand, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	const (
		byQueue = "outbox_dlq_queue_failed_idx"
		byID    = "outbox_dlq_pkey"
	)
	var (
		sql    = table.sql.letters
		all    = store.LetterFilter{Last: 50_000}
		old    = store.LetterFilter{Last: 50_000, OlderThan: 49_000 * time.Second}
		one    = []string{"queue-1"}
		five   = []string{"queue-0", "queue-1", "queue-2", "queue-3", "queue-4"}
		first  store.Place
		middle = middleOf(t, db, "queue-1")
	)
	tests := []struct {
		name, sql string
		args      []any
		want      []string
	}{
		{"the queues there are", sql.scope, []any{nil}, []string{byQueue, byID}},
		{"count of a queue by age", sql.count, letterArgs(&old, one), []string{byQueue}},
		{"newest of a queue", sql.newest, down(first, letterArgs(&all, one), 100), []string{byQueue, byID}},
		{"newest of a queue, next page", sql.newest, down(middle, letterArgs(&all, one), 100), []string{byQueue, byID}},
		{"oldest of all queues, next page", sql.oldest, up(middle, letterArgs(&all, five), 100), []string{byQueue, byID}},
		{"one", sql.one, []any{int64(7), ""}, []string{byID}},
		{"purge by age", sql.purge, up(first, letterArgs(&old, "queue-1"), 500), []string{byQueue, byID}},
		{"purge by age, next batch", sql.purge, up(middle, letterArgs(&old, "queue-1"), 500), []string{byQueue, byID}},
		{"replay of a queue", sql.replay, append(up(first, letterArgs(&all, "queue-1"), 500), nil), []string{byQueue, byID}},
		{"replay of a queue, next batch", sql.replay, append(up(middle, letterArgs(&all, "queue-1"), 500), nil), []string{byQueue, byID}},
		{"replay by id", sql.replayByID, []any{"{1,2,3,50000}", []byte{}, "{}", "{}", "{}", "", ""}, []string{byID}},
	}
	for _, tt := range tests {
		for mode, plan := range map[string]string{
			"for its values": planOf(t, db.Pool, "EXPLAIN (COSTS OFF) "+tt.sql, tt.args...),
			"for any values": genericPlanOf(t, db, tt.sql, len(tt.args)),
		} {
			for _, index := range tt.want {
				if !strings.Contains(plan, index) {
					t.Errorf("%s, planned %s, does not use %s:\n%s", tt.name, mode, index, plan)
				}
			}
			if strings.Contains(plan, "Seq Scan on outbox") {
				t.Errorf("%s, planned %s, reads the whole table:\n%s", tt.name, mode, plan)
			}
			if strings.Contains(plan, "Index Scan using "+byQueue) && !strings.Contains(plan, "(queue)::text = ") {
				t.Errorf("%s, planned %s, reads the whole index:\n%s", tt.name, mode, plan)
			}
		}
	}
}

func planOf(t *testing.T, db Querier, sql string, args ...any) string {
	t.Helper()
	rows, err := db.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// genericPlanOf is the plan that a prepared statement may settle on.
func genericPlanOf(t *testing.T, db *pgtest.DB, sql string, params int) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, s := range []string{"SET plan_cache_mode = force_generic_plan", "PREPARE generic AS " + sql} {
		if _, err := conn.Exec(t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", params), ", ")
	return planOf(t, conn, "EXPLAIN (COSTS OFF) EXECUTE generic("+nulls+")", pgx.QueryExecModeSimpleProtocol)
}

// middleOf is where some letter in the middle of a queue stands.
func middleOf(t *testing.T, db *pgtest.DB, queue string) (p store.Place) {
	t.Helper()
	var at pgtype.Timestamptz
	var id int64
	const sql = `SELECT failed_at, id FROM outbox_dlq WHERE queue = $1 ORDER BY failed_at OFFSET 5000 LIMIT 1`
	if err := db.Pool.QueryRow(t.Context(), sql, queue).Scan(&at, &id); err != nil {
		t.Fatal(err)
	}
	return placeAt(at, &id)
}
