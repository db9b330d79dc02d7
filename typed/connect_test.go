package typed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
)

// wholeLife sends messages through all that can become of them, with publishers on
// one pool and workers on another: each form of handler, a retry, a dead letter,
// a timer.
func wholeLife(t *testing.T, publisher, consumer *pgxpool.Pool, opts ...queue.WorkerOption) {
	t.Helper()
	is := is.New(t)
	var (
		plain   = typed.NewQueue[int]("plain")
		inTx    = typed.NewQueue[int]("in-tx")
		batch   = typed.NewQueue[int]("batch")
		held    = typed.NewQueue[int]("held")
		handled = make(chan string, 100)
		failed  atomic.Bool
	)
	stop := start(t, consumer, append(opts,
		plain.Handle(func(_ context.Context, n int) error {
			switch {
			case n == 1 && !failed.Swap(true):
				return errBroken // once
			case n == 2:
				return queue.Permanent(errBroken)
			}
			handled <- fmt.Sprint("plain ", n)
			return nil
		}, queue.Retry(retry.Constant{Delay: time.Millisecond})),
		inTx.HandleTx(func(ctx context.Context, tx pgx.Tx, n int) error {
			_, err := tx.Exec(ctx, "SELECT $1::int", n)
			handled <- fmt.Sprint("in-tx ", n)
			return err
		}),
		batch.HandleBatch(func(_ context.Context, ms []*typed.Message[int]) []error {
			for _, m := range ms {
				handled <- fmt.Sprint("batch ", m.Value)
			}
			return make([]error, len(ms))
		}),
		held.HandleBatchTx(func(_ context.Context, _ pgx.Tx, ms []*typed.Message[int]) []error {
			for _, m := range ms {
				handled <- fmt.Sprint("held ", m.Value)
			}
			return make([]error, len(ms))
		}),
	)...)
	commit(t, publisher, func(tx pgx.Tx) error {
		_, err1 := plain.PublishBatch(t.Context(), tx, []int{0, 1, 2})
		_, err2 := inTx.Publish(t.Context(), tx, 0)
		_, err3 := batch.Publish(t.Context(), tx, 0)
		_, err4 := held.Publish(t.Context(), tx, 0)
		_, err5 := plain.ScheduleAfter(t.Context(), tx, "timer", 50*time.Millisecond, 3)
		return errors.Join(err1, err2, err3, err4, err5)
	})
	want := map[string]bool{"plain 0": true, "plain 1": true, "plain 3": true, "in-tx 0": true, "batch 0": true, "held 0": true}
	for len(want) > 0 {
		got := next(t, handled)
		is.True(want[got]) // once each
		delete(want, got)
	}
	is.NoErr(stop())
	is.Equal(len(handled), 0)
}

// leftBehind wants an empty outbox and one dead letter, as wholeLife leaves them.
func leftBehind(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	is := is.New(t)
	is.Equal(rows(t, pool, "outbox"), 0)
	is.Equal(rows(t, pool, "outbox_dlq"), 1)
}

func TestConnect_EveryWayOfSendingStatements(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			db := newDB(t)
			pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			wholeLife(t, pool, pool)
			leftBehind(t, db.Pool)
		})
	}
}

func TestConnect_UnderTimeoutsOfTheServer(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	pool := db.Connect(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["statement_timeout"] = "2s"
		c.ConnConfig.RuntimeParams["lock_timeout"] = "1s"
		c.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "1s"
		c.ConnConfig.RuntimeParams["idle_session_timeout"] = "300ms" // which also ends the listening session, again and again
	})
	for range 3 {
		wholeLife(t, pool, pool, queue.BlindPollInterval(20*time.Millisecond))
		leftBehind(t, db.Pool)
		if _, err := db.Pool.Exec(t.Context(), "TRUNCATE outbox_dlq"); err != nil {
			t.Fatal(err)
		}
	}
}

// messages is a log of which only the messages count.
type messages chan string

func (messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) WithAttrs([]slog.Attr) slog.Handler     { return m }
func (m messages) WithGroup(string) slog.Handler          { return m }
func (m messages) Handle(_ context.Context, r slog.Record) error {
	select {
	case m <- r.Message:
	default: // nobody reads any more
	}
	return nil
}

// After a failover a pool may be full of connections to a server that takes no
// writes and breaks none of them.
func TestConnect_AServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	withEffects(t, db.Pool)
	writable := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "off" })
	readOnly := func(on string) {
		sql := "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = " + on + "', current_database()); END $$"
		if _, err := writable.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	worker := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = "worker" })
	inTx, held := typed.NewQueue[order]("in-tx"), typed.NewQueue[order]("held")
	plain := make(chan int, 10)
	readOnly("on")
	told := make(messages, 1000)
	start(t, worker, queue.BlindPollInterval(50*time.Millisecond), queue.Logger(slog.New(told)),
		orders.Handle(func(_ context.Context, o order) error { plain <- o.ID; return nil }),
		inTx.HandleTx(ship), held.HandleBatchTx(shipAll))
	commit(t, writable, func(tx pgx.Tx) error {
		_, err1 := orders.Publish(t.Context(), tx, order{ID: 1})
		_, err2 := inTx.Publish(t.Context(), tx, order{ID: 2})
		_, err3 := held.Publish(t.Context(), tx, order{ID: 3})
		return errors.Join(err1, err2, err3)
	})
	// The connections that it has are of no use, and stay open.
	for said := map[string]bool{}; !said["cannot reach the outbox; trying again"] || !said["cannot handle messages in a transaction; trying again"]; {
		said[next(t, told)] = true
	}
	is.Equal(rows(t, writable, "outbox"), 3)
	readOnly("off")
	is.Equal(next(t, plain), 1)
	eventually(t, writable, 5, "SELECT COALESCE(sum(order_id), 0)::int FROM effects")
	eventually(t, writable, 0, "SELECT count(*)::int FROM outbox WHERE queue IN ('orders', 'in-tx', 'held')") // ship publishes, too
	eventually(t, writable, 0, "SELECT count(*)::int FROM outbox_dlq")
}
