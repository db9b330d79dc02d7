package docs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// rows are what the statements of the pages find: something of each kind that they ask for.
const rows = `
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['publisher', 'scheduler', 'worker', 'operator', 'observer'] LOOP
    IF to_regrole(role) IS NULL THEN
      EXECUTE format('CREATE ROLE %I', role);
    END IF;
  END LOOP;
END $$;

INSERT INTO outbox (queue, payload, headers)
SELECT 'orders.placed', '{"id": 1}', '{"content-type": "application/json", "correlation_id": "c-1"}' FROM generate_series(1, 20);

INSERT INTO outbox (queue, payload, next_attempt_at, timer_id)
VALUES ('orders.placed', '{"id": 2}', now() + interval '1 hour', 'remind-2'),
       ('letterbox.paused', '', 'infinity', 'parcels.packed');

INSERT INTO outbox (queue, payload, attempts_count, deliveries_count, first_attempt_at, last_attempt_at, next_attempt_at)
VALUES ('orders.placed', '{"id": 3}', 3, 4, now() - interval '1 minute', now(), now() + interval '4 seconds');

INSERT INTO outbox (queue, payload, deliveries_count, acquired_at, acquired_token)
VALUES ('orders.placed', '{"id": 4}', 1, now(), gen_random_uuid()),
       ('orders.placed', '{"id": 5}', 1, now() - interval '1 hour', gen_random_uuid());

INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason, last_exception)
SELECT n, 'orders.placed', '{"id": 6}', '{"content-type": "application/json"}', 10, now() - interval '1 hour', reason, 'no route to host'
FROM unnest(ARRAY['retry_terminal', 'rejected', 'decode_error', 'max_deliveries']) WITH ORDINALITY AS r(reason, n);
`

// runner runs statements.
type runner func(ctx context.Context, sql string) error

// The statements of a page run one after the other in one transaction, so that they may need each other, and may make roles.
func TestSQLBlocks_Run(t *testing.T) {
	t.Parallel()
	n := 0
	for _, p := range pages(t) {
		blocks := p.blocks("sql", "postgresql", "pgsql")
		n += len(blocks)
		if len(blocks) == 0 {
			continue
		}
		t.Run(p.path, func(t *testing.T) {
			t.Parallel()
			run := transaction(t)
			for _, b := range blocks {
				run := run
				if b.comment == "in no transaction" {
					run = alone(t)
				}
				if err := checkSQL(t.Context(), b, run); err != nil {
					t.Errorf("%s: %v", b, err)
				}
			}
		})
	}
	if n < 10 {
		t.Errorf("only %d blocks of SQL were found", n)
	}
}

func TestSQLBlocks_AreRefusedWhereTheyDoNotRun(t *testing.T) {
	t.Parallel()
	run := transaction(t)
	check := func(b block) error { return checkSQL(t.Context(), b, run) }
	refuses(t, check, block{text: "SELECT count(*) FROM outbocks;\n"}, "outbocks")
	refuses(t, check, block{text: "SELECT 1; SELECT no_column FROM outbox;\n"}, "no_column")
	refuses(t, check, block{text: "DELETE FROM outbox WHERE id = $1;\n"}, "write a value in its place")
	refuses(t, check, block{text: "VACUUM outbox;\n"}, "<!-- in no transaction -->")
	refuses(t, check, block{text: "SELECT 1;\n", comment: "not run: "}, "say why")
	if err := check(block{text: "no SQL at all\n", comment: "not run: it is none"}); err != nil {
		t.Error(err)
	}
	if err := check(block{text: "SELECT queue FROM outbox;\n"}); err != nil { // what failed before has left no trace
		t.Error(err)
	}
}

// transaction runs statements in a transaction over tables with rows in them, which is rolled back at the test's end.
func transaction(t *testing.T) runner {
	t.Helper()
	is := is.New(t)
	tx, err := tables(t).Pool.Begin(t.Context())
	is.NoErr(err)
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	exec := func(ctx context.Context, sql string) error {
		_, err := tx.Conn().PgConn().Exec(ctx, sql).ReadAll() // the simple protocol takes several statements at once
		return err
	}
	is.NoErr(exec(t.Context(), rows))
	return func(ctx context.Context, sql string) error {
		if err := exec(ctx, "SAVEPOINT block"); err != nil {
			return err
		}
		err := exec(ctx, sql)
		if err != nil {
			err = errors.Join(err, exec(ctx, "ROLLBACK TO SAVEPOINT block"))
		}
		return err
	}
}

// alone runs statements in a database of their own.
func alone(t *testing.T) runner {
	t.Helper()
	db := tables(t)
	return func(ctx context.Context, sql string) error {
		conn, err := db.Pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		_, err = conn.Conn().PgConn().Exec(ctx, sql).ReadAll()
		return err
	}
}

func tables(t *testing.T) *pgtest.DB {
	t.Helper()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(sql))
}

// checkSQL runs a block, unless its comment says that it cannot be run here, and why.
func checkSQL(ctx context.Context, b block, run runner) error {
	if reason, left := strings.CutPrefix(b.comment, "not run:"); left {
		if strings.TrimSpace(reason) == "" {
			return errors.New("say why this SQL is not run: <!-- not run: needs ... -->")
		}
		return nil
	}
	err := run(ctx, b.text)
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case "42P02": // undefined_parameter
		return fmt.Errorf("the SQL has a parameter: write a value in its place, or before the block a line <!-- not run: needs ... -->: %w", err)
	case "25001": // active_sql_transaction
		return fmt.Errorf("the SQL does not run in a transaction: write before the block a line <!-- in no transaction -->: %w", err)
	}
	return fmt.Errorf("the SQL does not run; where it cannot run on the tables alone, write before the block a line <!-- not run: needs ... -->: %w", err)
}
