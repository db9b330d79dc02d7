package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// newOutbox is an empty outbox in a database of the test's own.
func newOutbox(t *testing.T) *pgtest.DB {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(schema))
}

// run runs a statement.
func run(t *testing.T, db *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// everyState publishes to the queue "work" and has a worker bring its messages into
// every state: two are held by handlers, one waits for a retry, one is dead, two are
// scheduled. Three more of the queue "idle" are due, one of which has failed. The
// handlers go on until the test ends.
func everyState(t *testing.T, db *pgtest.DB) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	work, idle := queue.New("work"), queue.New("idle")
	_, err := queue.Publish(ctx, queue.Autocommit(db.Pool),
		work.Draft([]byte("hold 1")), work.Draft([]byte("hold 2")), work.Draft([]byte("fail")), work.Draft([]byte("die")),
		work.Draft([]byte("later 1"), queue.Delay(time.Hour)), work.Draft([]byte("later 2"), queue.Delay(2*time.Hour)),
		idle.Draft([]byte("due 1"), queue.Headers(map[string]string{"tenant": "x"}), queue.CorrelationID("c-1"), queue.ContentType("text/plain")),
		idle.Draft([]byte("due 2")), idle.Draft([]byte("due 3")))
	is.NoErr(err)
	_, err = db.Pool.Exec(ctx, `UPDATE outbox SET attempts_count = 1, next_attempt_at = next_attempt_at - interval '1 minute'
		WHERE queue = 'idle' AND payload = 'due 3'`)
	is.NoErr(err)

	seen := make(chan string, 4)
	w, err := queue.NewWorker(db.Pool, queue.Logger(slog.New(slog.DiscardHandler)), queue.Grace(time.Millisecond),
		work.Handle(func(ctx context.Context, d *queue.Delivery) error {
			defer func() { seen <- string(d.Payload) }()
			switch string(d.Payload) {
			case "fail":
				return queue.RetryAfter(errors.New("not now"), 30*time.Minute)
			case "die":
				return queue.Permanent(errors.New("never"))
			}
			seen <- string(d.Payload)
			<-ctx.Done()
			return ctx.Err()
		}))
	is.NoErr(err)
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	for range 4 {
		select {
		case <-seen:
		case <-time.After(20 * time.Second):
			t.Fatal("the worker did not get to all messages")
		}
	}
	// What the handlers returned is written a moment later.
	for end := time.Now().Add(20 * time.Second); ; {
		var settled bool
		is.NoErr(db.Pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM outbox_dlq) = 1
			AND (SELECT count(*) FROM outbox WHERE queue = 'work' AND attempts_count = 1 AND acquired_at IS NULL) = 1`).Scan(&settled))
		if settled {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the outcomes were not written")
		}
	}
}

// withRole gives a pool whose connections work as a new role that has the rights
// granted: "SELECT ON outbox" and so on.
func withRole(t *testing.T, db *pgtest.DB, grants ...string) *pgxpool.Pool {
	t.Helper()
	name := fmt.Sprintf("reader_%d_%s", time.Now().UnixNano(), strings.ToLower(t.Name()[4:8]))
	role := pgx.Identifier{name}.Sanitize()
	ctx := context.WithoutCancel(t.Context())
	statements := []string{"CREATE ROLE " + role + " LOGIN"}
	for _, g := range grants {
		statements = append(statements, "GRANT "+g+" TO "+role)
	}
	for _, sql := range statements {
		if _, err := db.Pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if _, err := db.Pool.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
		}
	})
	return db.Connect(t, func(c *pgxpool.Config) {
		c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET ROLE "+role)
			return err
		}
	})
}

// readers are all that an outbox can be looked at on.
func readers(t *testing.T, db *pgtest.DB) map[string]queue.Reader {
	t.Helper()
	is := is.New(t)
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, db.DSN)
	is.NoErr(err)
	tx, err := db.Pool.Begin(ctx)
	is.NoErr(err)
	std, err := sql.Open("pgx", db.DSN)
	is.NoErr(err)
	stdTx, err := std.BeginTx(ctx, nil)
	is.NoErr(err)
	t.Cleanup(func() {
		_ = conn.Close(ctx)
		_ = tx.Rollback(ctx)
		_ = stdTx.Rollback()
		_ = std.Close()
	})
	return map[string]queue.Reader{
		"pool": db.Pool, "connection": conn, "transaction": tx, "database/sql": queue.SQL(stdTx), "autocommit": queue.Autocommit(db.Pool),
	}
}
