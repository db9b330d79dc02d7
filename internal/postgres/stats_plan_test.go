package postgres

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// bulk writes n messages that wait in one queue, half of them due in one moment and
// the others scheduled apart, n/10 that are leased, and n/10 dead letters. Nothing
// else writes to it, so the planner knows what a test lets it know.
func bulk(t *testing.T, db *pgtest.DB, n int) {
	t.Helper()
	_, err := db.Pool.Exec(t.Context(), fmt.Sprintf(`
		ALTER TABLE outbox SET (autovacuum_enabled = off); ALTER TABLE outbox_dlq SET (autovacuum_enabled = off);
		INSERT INTO outbox (queue, payload, headers)
		SELECT 'q', 'payload', '{}' FROM generate_series(1, %[1]d / 2);
		INSERT INTO outbox (queue, payload, headers, next_attempt_at)
		SELECT 'q', 'payload', '{}', now() + interval '1 day' + make_interval(secs => n) FROM generate_series(1, %[1]d / 2) AS n;
		INSERT INTO outbox (queue, payload, headers, acquired_at, acquired_token)
		SELECT 'q', 'payload', '{}', now() - make_interval(secs => n), gen_random_uuid() FROM generate_series(1, %[1]d / 10) AS n;
		INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason)
		SELECT n, 'q', '', 1, now(), 'rejected' FROM generate_series(1, %[1]d / 10) AS n`, n), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
}

// looks are the statements that look at a table of any size, with what they may
// touch, in pages of 8 kB: a few for each row that they return, or pass over.
func looks(table *Table) []struct {
	name, sql string
	args      []any
	most      int
	index     string
} {
	sql := table.sql.stats
	stats := Looked{MaxQueues: 200, Cap: 1000, Lease: time.Minute, Dead: true}
	named := stats
	named.Queues = []string{"q", "nobody"}
	yes, no := true, false
	walk := func(due, failed *bool, from string, rows int) []any {
		return []any{"q", due, failed, from, math.MinInt64, rows, 50, 16 << 20, 1}
	}
	soon := timestamp(time.Now().Add(25 * time.Hour))
	return []struct {
		name, sql string
		args      []any
		most      int
		index     string
	}{
		// A row that is not known to be visible to all is looked at itself.
		{"stats", sql.countAll, stats.args(), 6000, "outbox_pending_idx outbox_lease_idx outbox_dlq_queue_failed_idx"},
		{"stats of queues", sql.countAll, named.args(), 6000, "outbox_pending_idx outbox_lease_idx outbox_dlq_queue_failed_idx"},
		{"stats without dead letters", sql.count, stats.args(), 5000, "outbox_pending_idx outbox_lease_idx"},
		{"peek", sql.waiting.walk, walk(nil, nil, "-infinity", 1050), 2000, "outbox_pending_idx outbox_pkey"},
		{"peek at a later page", sql.waiting.walk, walk(nil, nil, soon, 1050), 2000, "outbox_pending_idx outbox_pkey"},
		{"peek at what is due", sql.waiting.walk, walk(&yes, nil, "-infinity", 1050), 2000, "outbox_pending_idx outbox_pkey"},
		{"peek at what is scheduled", sql.waiting.walk, walk(&no, &no, "-infinity", 1050), 2000, "outbox_pending_idx outbox_pkey"},
		{"peek at what is retried", sql.waiting.walk, walk(&no, &yes, "-infinity", 1050), 2000, "outbox_pending_idx outbox_pkey"},
		{"peek at what is leased", sql.leased.walk, walk(nil, nil, "-infinity", 1050), 2000, "outbox_lease_idx outbox_pkey"},
		{"peek in a tie", sql.waiting.tie, []any{"q", math.MaxInt64, nil, soon, 1000, 1050, 50, 16 << 20, 1}, 2000, "outbox_pkey"},
		{"peek at one", sql.one, []any{7, "q", 1}, 10, "outbox_pkey"},
	}
}

func TestLooks_CostIsBounded(t *testing.T) {
	t.Parallel()
	states := map[string][]string{
		"never analyzed":       nil,
		"analyzed while empty": {"VACUUM ANALYZE outbox", "VACUUM ANALYZE outbox_dlq"},
		"analyzed":             {"ANALYZE outbox", "ANALYZE outbox_dlq"},
		"vacuumed":             {"VACUUM ANALYZE outbox", "VACUUM ANALYZE outbox_dlq"},
	}
	for name, statements := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			cost := map[string][]int{}
			for _, n := range []int{30_000, 300_000} {
				table, db := newTable(t)
				maintain := func() {
					for _, sql := range statements {
						_, err := db.Pool.Exec(t.Context(), sql)
						is.NoErr(err)
					}
				}
				if strings.HasSuffix(name, "empty") {
					maintain()
					bulk(t, db, n)
				} else {
					bulk(t, db, n)
					maintain()
				}
				for _, tt := range looks(table) {
					plan := timerPlan(t, db, tt.sql, tt.args...) // unpinned
					if strings.HasPrefix(tt.name, "stats") && !strings.Contains(plan, "Index Only Scan Backward using outbox_pending_idx") {
						t.Errorf("%s does not count what is due from the newest on, off the index alone:\n%s", tt.name, plan)
					}
					for index := range strings.FieldsSeq(tt.index) {
						if !strings.Contains(plan, index) {
							t.Errorf("%s does not use %s:\n%s", tt.name, index, plan)
						}
					}
					touched := buffers(t, plan)
					if cost[tt.name] = append(cost[tt.name], touched); touched > tt.most {
						t.Errorf("%s touches %d pages of %d rows, more than %d:\n%s", tt.name, touched, n, tt.most, plan)
					}
					for _, bad := range []string{"Seq Scan on outbox", "Bitmap Heap Scan", "JIT"} {
						if strings.Contains(plan, bad) {
							t.Errorf("%s: %s:\n%s", tt.name, bad, plan)
						}
					}
				}
			}
			for name, n := range cost { // some pages more, since the trees are higher
				if n[1] > n[0]+n[0]/2+40 {
					t.Errorf("%s touches %d pages of 30,000 rows, and %d of 300,000", name, n[0], n[1])
				}
			}
			t.Log(cost)
		})
	}
}

func TestLooks_AreNeverPlannedInGeneral(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	ctx := t.Context()
	conn, err := db.Pool.Acquire(ctx)
	is.NoErr(err)
	defer conn.Release()
	run := func() {
		for range 8 { // PostgreSQL decides after five
			for _, l := range []Looked{{MaxQueues: 200, Cap: 1000, Lease: time.Minute}, {MaxQueues: 200, Cap: 10_000, Lease: time.Minute, Dead: true}} {
				_, err := table.Stats(ctx, conn, l)
				is.NoErr(err)
			}
			for _, p := range []Peeked{{Queue: "q"}, {Queue: "q", Leased: true}, {Queue: "q", Failed: new(bool), Due: new(bool)}, {Queue: "q", Beyond: PeekPlace{At: "0", Tie: true}}} {
				p.Size, p.Walk, p.Bytes = 50, 1050, 1<<20
				_, _, _, err := table.Peek(ctx, conn, p)
				is.NoErr(err)
			}
		}
	}
	check := func() {
		t.Helper()
		rows, err := conn.Query(ctx, `SELECT left(statement, 200) FROM pg_prepared_statements
			WHERE generic_plans > 0 AND statement LIKE '%generate_series%' AND statement NOT LIKE '%pg_prepared%'`)
		is.NoErr(err)
		general, err := pgx.CollectRows(rows, pgx.RowTo[string])
		is.NoErr(err)
		is.Equal(len(general), 0)
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE outbox")
	is.NoErr(err)
	run() // on an empty table
	check()
	bulk(t, db, 20_000)
	_, err = conn.Exec(ctx, "VACUUM ANALYZE outbox")
	is.NoErr(err)
	run() // on a full one
	check()
}

func TestPeekPlace_IsReadBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0.0", "-5.7", "infinity.1", "-infinity.-9223372036854775808", "1795519959820988.9223372036854775807",
		"-210866803200000000.1", "5.7a-3", "5.7b9", "infinity.7a1"} {
		p, ok := ParsePeekPlace(text)
		if !ok || p.String() != text {
			t.Errorf("%q came back as %q", text, p)
		}
	}
	for _, text := range []string{"", "1", "1.", ".1", "1.2.3", "1.2c3", "1.2a", "1.2x", " 1.2", "+1.2", "1e5.2", "infinite.1", "1.99999999999999999999",
		"99999999999999999999.1", "-210866803200000001.1", "9223372036854775807.1", "1.2\n", "x.2"} {
		if p, ok := ParsePeekPlace(text); ok {
			t.Errorf("%q was read as %q", text, p)
		}
	}
}
