package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// explain runs a statement behind the pin, as the store does, and returns its
// plan, undoing what it wrote.
func explain(t *testing.T, db *pgtest.DB, options, sql string, args ...any) string {
	t.Helper()
	var lines []string
	err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), pinSQL); err != nil {
			return err
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN ("+options+") "+sql, args...)
		if err != nil {
			return err
		}
		if lines, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		return tx.Rollback(context.WithoutCancel(t.Context()))
	})
	if err != nil && err != pgx.ErrTxClosed {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// fill writes due rows that share one due time, as a bulk insert does.
func fill(t *testing.T, db *pgtest.DB, queue string, rows int) {
	t.Helper()
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, headers)
		SELECT $1, 'payload', '{}' FROM generate_series(1, $2)`, queue, rows)
	if err != nil {
		t.Fatal(err)
	}
}

func newTable(t *testing.T) (*Table, *pgtest.DB) {
	t.Helper()
	table, err := Bind(Names{})
	if err != nil {
		t.Fatal(err)
	}
	return table, pgtest.New(t, pgtest.Schema(table.Schema()))
}

func TestPlans_UseTheIndexes(t *testing.T) {
	t.Parallel()
	ids, tokens := []int64{1, 2, 3}, make([]uuidText, 3)
	for i := range tokens {
		tokens[i] = uuidText(uuid.NewString())
	}
	states := map[string]func(t *testing.T, db *pgtest.DB){
		"empty and analyzed": func(*testing.T, *pgtest.DB) {},
		"full and never analyzed": func(t *testing.T, db *pgtest.DB) {
			fill(t, db, "q", 50_000)
		},
		"full and analyzed": func(t *testing.T, db *pgtest.DB) {
			fill(t, db, "q", 50_000)
			if _, err := db.Pool.Exec(t.Context(), "ANALYZE outbox"); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range states {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, db := newTable(t)
			if _, err := db.Pool.Exec(t.Context(), "ALTER TABLE outbox SET (autovacuum_enabled = off); ANALYZE outbox", pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			prepare(t, db)
			tests := []struct {
				name, sql string
				args      []any
				want      []string
			}{
				{"claim", table.sql.claim, []any{"q", 100, uuid.NewString(), "-infinity"}, []string{"outbox_pending_idx", "TID Cond"}},
				{"claim above a floor", table.sql.claim, []any{"q", 100, uuid.NewString(), "2020-01-01"}, []string{"outbox_pending_idx", "TID Cond"}},
				{"claim expired", table.sql.claimExpired, []any{"q", 100, uuid.NewString(), 60.0}, []string{"outbox_lease_idx", "TID Cond"}},
				{"hold", table.sql.hold, []any{"q", 100, "-infinity"}, []string{"outbox_pending_idx"}},
				{"hold expired", table.sql.holdExpired, []any{"q", 100, 60.0}, []string{"outbox_lease_idx"}},
				{"ack", table.sql.ack, []any{ids, tokens[0]}, []string{"outbox_pkey"}},
				{"ack of many claims", table.sql.ackEach, []any{ids, tokens}, []string{"outbox_pkey"}},
				{"clock", table.sql.clock, []any{"q", "-infinity"}, []string{"outbox_pending_idx"}},
				{"ack one", table.sql.ackOne, []any{1, uuid.NewString()}, []string{"outbox_pkey"}},
				{"reschedule", table.sql.reschedule, []any{ids, tokens, []bool{true, false, true}, []float64{0, 0, 0}, []float64{0, 0, 0}, false}, []string{"outbox_pkey"}},
				{"bury", table.sql.bury, []any{ids, tokens, []string{"a", "b", "c"}, []string{"", "", ""}, false}, []string{"outbox_pkey"}},
				{"extend", table.sql.extend, []any{ids, tokens}, []string{"outbox_pkey"}},
				{"locked", table.sql.locked, []any{ids, tokens}, []string{"outbox_pkey"}},
				{"give back", table.sql.giveBack, []any{[]string{"q"}, tokens}, []string{"outbox_lease_idx"}},
				{"look", table.sql.look, []any{[]string{"q", "r"}, []float64{60, 60}}, []string{"outbox_pending_idx", "outbox_lease_idx"}},
			}
			for _, tt := range tests {
				plan := explain(t, db, "COSTS OFF", tt.sql, tt.args...)
				for _, index := range tt.want {
					if !strings.Contains(plan, index) {
						t.Errorf("%s does not use %s:\n%s", tt.name, index, plan)
					}
				}
				if strings.Contains(plan, "Seq Scan on outbox") {
					t.Errorf("%s reads the whole table:\n%s", tt.name, plan)
				}
				if strings.HasPrefix(tt.name, "claim") && !strings.Contains(plan, "One-Time Filter") {
					t.Errorf("%s asks for each row whether the queue is paused:\n%s", tt.name, plan)
				}
				if strings.HasPrefix(tt.name, "claim") && strings.Contains(plan, "Sort") {
					t.Errorf("%s sorts the backlog:\n%s", tt.name, plan)
				}
			}
		})
	}
}

// uuidText is a uuid that pgx sends as text, for a statement it has not prepared.
type uuidText string

// buffers adds up the pages that a plan touched, at its top.
func buffers(t *testing.T, plan string) int {
	t.Helper()
	m := regexp.MustCompile(`Buffers: shared hit=(\d+)(?: read=(\d+))?`).FindStringSubmatch(plan)
	if m == nil {
		t.Fatalf("no buffers in:\n%s", plan)
	}
	hit, _ := strconv.Atoi(m[1])
	read, _ := strconv.Atoi(m[2])
	return hit + read
}

func TestClaim_CostDoesNotDependOnTheBacklog(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	cost := map[string]int{}
	for _, n := range []int{1_000, 100_000} {
		queue := fmt.Sprint("q", n)
		fill(t, db, queue, n)
		// Rows of the future, and the expired leases of others, cost nothing either.
		_, err := db.Pool.Exec(t.Context(), `
			INSERT INTO outbox (queue, payload, next_attempt_at)
			SELECT $1, '', now() + make_interval(secs => n) FROM generate_series(1, $2) AS n`, queue, n)
		is.NoErr(err)
		_, err = db.Pool.Exec(t.Context(), `
			INSERT INTO outbox (queue, payload, acquired_token, acquired_at)
			SELECT $1, '', gen_random_uuid(), now() - interval '1 hour' FROM generate_series(1, $2)`, queue, n/10)
		is.NoErr(err)
		cost[queue] = buffers(t, explain(t, db, "ANALYZE, BUFFERS", table.sql.claim, queue, 100, uuid.NewString(), "-infinity"))
		is.True(buffers(t, explain(t, db, "ANALYZE, BUFFERS", table.sql.clock, queue, "-infinity")) < 20)
	}
	t.Log(cost)
	is.True(float64(cost["q100000"]) < 1.5*float64(cost["q1000"]))
}

// Rows that were claimed stay in the index for as long as a snapshot can see them:
// who begins above them must not walk them.
func TestClock_CostDoesNotDependOnWhatWasClaimed(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	table, db := newTable(t)
	_, err := db.Pool.Exec(t.Context(), "ALTER TABLE outbox SET (autovacuum_enabled = off)")
	is.NoErr(err)
	fill(t, db, "q", 20_000)
	old, err := db.Pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	is.NoErr(err)
	defer old.Rollback(context.WithoutCancel(t.Context()))
	var floor time.Time
	is.NoErr(old.QueryRow(t.Context(), "SELECT max(next_attempt_at) + interval '1 microsecond' FROM outbox").Scan(&floor))
	_, err = db.Pool.Exec(t.Context(), "UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now()")
	is.NoErr(err)
	cost := func(since string) int {
		return buffers(t, explain(t, db, "ANALYZE, BUFFERS", table.sql.clock, "q", since))
	}
	all, above := cost("-infinity"), cost(floor.Format(time.RFC3339Nano))
	t.Log(all, above)
	is.True(all > 200) // else this shows nothing
	is.True(above < 20)
}
