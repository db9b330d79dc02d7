package typed_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// grants are the statements of docs/security.md that give a role its rights.
func grants(t *testing.T, role string) (statements []string) {
	t.Helper()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)\n```sql\n(.+?)\n```\n").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			if g, ok := strings.CutSuffix(strings.TrimSpace(line), " TO "+role+";"); ok {
				statements = append(statements, g)
			}
		}
	}
	if len(statements) == 0 {
		t.Fatalf("docs/security.md grants nothing to %s", role)
	}
	return statements
}

// as is a pool whose sessions have the rights of a role that was granted these,
// and no others.
func as(t *testing.T, db *pgtest.DB, kind string, grants ...string) *pgxpool.Pool {
	t.Helper()
	var name string
	if err := db.Pool.QueryRow(t.Context(), "SELECT $1 || '_' || oid FROM pg_database WHERE datname = current_database()", kind).Scan(&name); err != nil {
		t.Fatal(err)
	}
	role := pgx.Identifier{name}.Sanitize()
	statements := []string{"CREATE ROLE " + role}
	for _, g := range grants {
		statements = append(statements, g+" TO "+role)
	}
	for _, sql := range statements {
		if _, err := db.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	t.Cleanup(func() { // a role belongs to the whole cluster
		_, _ = db.Pool.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+role+"; DROP ROLE "+role, pgx.QueryExecModeSimpleProtocol)
	})
	return db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = name })
}

func TestGrants_AreEnoughForAWholeLife(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	scheduler, worker := as(t, db, "scheduler", grants(t, "scheduler")...), as(t, db, "worker", grants(t, "worker")...)
	wholeLife(t, scheduler, worker)
	leftBehind(t, db.Pool)

	publisher := as(t, db, "publisher", grants(t, "publisher")...)
	q := typed.NewQueue[int]("q")
	for _, n := range []int{1, 10, 3000} {
		ids, err := q.PublishBatch(t.Context(), queue.Autocommit(publisher), make([]int, n))
		is.NoErr(err)
		is.Equal(len(ids), n)
	}
}

// What each role can do, of all there is to do: not less than it should, and not
// more.
func TestGrants_AreNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	var (
		q    = typed.NewQueue[int]("q")
		dead = q.DeadLetters()
		soon = time.Now().Add(time.Hour)
	)
	does := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"publish": func(ctx context.Context, tx pgx.Tx) error { _, err := q.Publish(ctx, tx, 1); return err },
		"publish a batch": func(ctx context.Context, tx pgx.Tx) error {
			_, err := q.PublishBatch(ctx, tx, make([]int, 2500))
			return err
		},
		"schedule":   func(ctx context.Context, tx pgx.Tx) error { _, err := q.Schedule(ctx, tx, "t", soon, 1); return err },
		"reschedule": func(ctx context.Context, tx pgx.Tx) error { _, err := q.Reschedule(ctx, tx, "t", soon, 1); return err },
		"cancel":     func(ctx context.Context, tx pgx.Tx) error { _, err := q.Cancel(ctx, tx, "t"); return err },
		"pause":      func(ctx context.Context, tx pgx.Tx) error { _, err := q.Bytes().Pause(ctx, tx); return err },
		"resume":     func(ctx context.Context, tx pgx.Tx) error { _, err := q.Bytes().Resume(ctx, tx); return err },
		"list paused queues": func(ctx context.Context, tx pgx.Tx) error {
			_, err := queue.Outbox{}.Paused(ctx, tx)
			return err
		},
		"list timers": func(ctx context.Context, tx pgx.Tx) error {
			_, err := q.Timers().List(ctx, tx, timers.Filter{}, timers.Page{})
			return err
		},
		"list letters": func(ctx context.Context, tx pgx.Tx) error {
			_, err := dead.List(ctx, tx, dlq.Filter{}, dlq.Page{})
			return err
		},
		"count letters": func(ctx context.Context, tx pgx.Tx) error { _, err := dead.Count(ctx, tx, dlq.Filter{}); return err },
		"replay": func(ctx context.Context, tx pgx.Tx) error {
			done, err := dead.Replay(ctx, tx, []int64{1}, dead.Fix(func(n int) (int, error) { return n, nil }))
			if err == nil && done.Moved != 1 {
				err = errBroken
			}
			return err
		},
		"replay all": func(ctx context.Context, tx pgx.Tx) error {
			_, err := dead.ReplayAll(ctx, tx, dlq.Filter{})
			return err
		},
		"purge": func(ctx context.Context, tx pgx.Tx) error {
			_, err := dead.Purge(ctx, tx, dlq.Everything())
			return err
		},
		"read payloads": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT payload FROM outbox")
			return err
		},
		"write letters": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO outbox_dlq (id, original_id, queue, payload, deliveries_count, created_at, failure_reason) VALUES (2, 1, 'q', '', 1, now(), 'r') RETURNING original_id")
			return err
		},
		"delete messages": func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "DELETE FROM outbox"); return err },
		"truncate":        func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "TRUNCATE outbox_dlq"); return err },
		"create": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "CREATE INDEX ON outbox (id)")
			return err
		},
	}
	may := map[string][]string{
		"publisher": {"publish", "publish a batch"},
		"scheduler": {"publish", "publish a batch", "schedule", "reschedule", "cancel", "list timers", "pause", "resume", "list paused queues", "read payloads", "delete messages"},
		"worker":    {"list timers", "cancel", "resume", "list paused queues", "read payloads", "write letters", "delete messages"},
		"operator":  {"publish", "publish a batch", "list letters", "count letters", "replay", "replay all", "purge", "pause"},
		"observer":  {"list timers", "list paused queues", "list letters", "count letters", "read payloads"},
	}
	for role, allowed := range may {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox_dlq (id, original_id, queue, payload, headers, deliveries_count, created_at, failure_reason)
				VALUES (1, 1, 'q', '1', '{"content-type": "application/json"}', 1, now(), 'rejected')`)
			is.NoErr(err)
			pool := as(t, db, role, grants(t, role)...)
			for what, do := range does {
				tx, err := pool.Begin(t.Context())
				is.NoErr(err)
				err = do(t.Context(), tx)
				is.NoErr(tx.Rollback(t.Context()))
				var refused *pgconn.PgError
				switch {
				case err == nil && !slices.Contains(allowed, what):
					t.Errorf("a %s may %s", role, what)
				case err != nil && slices.Contains(allowed, what):
					t.Errorf("a %s may not %s: %v", role, what, err)
				case err != nil:
					is.True(errors.As(err, &refused))
					is.Equal(refused.Code, "42501")
				}
			}
		})
	}
}

// A worker with a retention and recurring work has the rights that docs/security.md
// adds for these.
func TestGrants_OfAWorkerThatDoesMore(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	pool := as(t, db, "worker", slices.Concat(grants(t, "worker"), grants(t, "scheduler"), []string{"GRANT SELECT, UPDATE, DELETE ON outbox_dlq"})...)
	q := typed.NewQueue[int]("q")
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason, failed_at)
		VALUES (1, 'q', '1', 1, now(), 'rejected', now() - interval '1 hour')`)
	is.NoErr(err)
	ticks := make(chan int, 100)
	stop := start(t, pool, q.DeadLetters().Retain(time.Minute, dlq.Every(time.Millisecond)),
		q.Recur("tick", timers.Every(100*time.Millisecond), func(timers.Tick) int { return 7 }),
		q.Handle(func(_ context.Context, n int) error { ticks <- n; return nil }))
	is.Equal(next(t, ticks), 7)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox_dlq")
	is.NoErr(stop())
}
