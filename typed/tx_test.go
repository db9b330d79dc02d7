package typed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// withEffects is a database with a table that handlers write to.
func withEffects(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE effects (order_id int NOT NULL)`); err != nil {
		t.Fatal(err)
	}
}

const soon = 10 * time.Millisecond

func TestHandleTx_ExactlyOnceWhereverItsWorkerDies(t *testing.T) {
	t.Parallel()
	for step := range shipSteps {
		t.Run(fmt.Sprint("step ", step), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			withEffects(t, db.Pool)
			commit(t, db.Pool, func(tx pgx.Tx) error {
				_, err := orders.Publish(t.Context(), tx, order{ID: 1})
				return err
			})
			child := childCommand(db.DSN, fmt.Sprint(childDies, "=", step))
			is.NoErr(child.Start())
			err := child.Wait()
			is.Equal(err.Error(), "signal: killed")
			// Only the end of the commit leaves the work done.
			is.Equal(rows(t, db.Pool, "effects") == 1, step == shipSteps-1)

			start(t, db.Pool, queue.Lease(shortLease), queue.PollInterval(50*time.Millisecond), orders.HandleTx(ship))
			eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox WHERE queue = 'orders'")
			is.Equal(rows(t, db.Pool, "effects"), 1)
			eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox WHERE queue = 'shipping'")
		})
	}
}

func TestHandleTx_RollsBackOnError(t *testing.T) {
	t.Parallel()
	fails := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"error":     func(context.Context, pgx.Tx) error { return errBroken },
		"panic":     func(context.Context, pgx.Tx) error { panic("oh") },
		"broken tx": func(ctx context.Context, tx pgx.Tx) error { _, _ = tx.Exec(ctx, "no SQL"); return nil },
		"late refusal": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO strict VALUES (1), (1)")
			return err
		},
		"own rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
		"own commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
	}
	for name, fail := range fails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			withEffects(t, db.Pool)
			_, err := db.Pool.Exec(t.Context(), `CREATE TABLE strict (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
			is.NoErr(err)
			commit(t, db.Pool, func(tx pgx.Tx) error {
				_, err := orders.Publish(t.Context(), tx, order{ID: 1})
				return err
			})
			start(t, db.Pool, orders.HandleTx(func(ctx context.Context, tx pgx.Tx, o order) error {
				if err := ship(ctx, tx, o); err != nil {
					return err
				}
				return fail(ctx, tx)
			}, queue.Retry(retry.Constant{Delay: soon, MaxAttempts: 2})))
			eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE deliveries_count = 2 AND failure_reason = 'retry_terminal'")
			is.Equal(rows(t, db.Pool, "effects"), 0)
			is.Equal(rows(t, db.Pool, "outbox"), 0) // nothing went on to shipping
		})
	}
}

func TestHandleTx_MiddlewareThatHidesAFailureLosesNothing(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	hide := func(next queue.Handler) queue.Handler {
		return func(ctx context.Context, d *queue.Delivery) error {
			_ = next(ctx, d)
			return nil
		}
	}
	start(t, db.Pool, orders.HandleTx(func(context.Context, pgx.Tx, order) error { return errBroken },
		queue.Use(hide), queue.Retry(retry.Never{})))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE last_exception LIKE '%not committed%'")
}

// A lease that ends while its handler runs, and goes to another worker, leaves
// the late one without effect, whatever it says.
func TestLateWorker_ChangesNothing(t *testing.T) {
	t.Parallel()
	type run func(ctx context.Context, tx pgx.Tx, late func()) error
	verdicts := map[string]struct {
		inTx bool
		do   run
	}{
		"ack":    {false, func(_ context.Context, _ pgx.Tx, late func()) error { late(); return nil }},
		"retry":  {false, func(_ context.Context, _ pgx.Tx, late func()) error { late(); return errBroken }},
		"bury":   {false, func(_ context.Context, _ pgx.Tx, late func()) error { late(); return queue.Permanent(errBroken) }},
		"snooze": {false, func(_ context.Context, _ pgx.Tx, late func()) error { late(); return queue.Snooze(time.Hour) }},
		"tx": {true, func(ctx context.Context, tx pgx.Tx, late func()) error {
			if err := ship(ctx, tx, order{ID: 1}); err != nil {
				return err
			}
			late()
			return nil
		}},
	}
	for name, v := range verdicts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			withEffects(t, db.Pool)
			commit(t, db.Pool, func(tx pgx.Tx) error {
				_, err := orders.Publish(t.Context(), tx, order{ID: 1})
				return err
			})
			const another = "00000000-0000-4000-8000-000000000001"
			stolen := make(chan struct{})
			late := func() { // what another worker's claim does
				_, err := db.Pool.Exec(t.Context(), `UPDATE outbox SET acquired_token = $1, acquired_at = now() + interval '1 hour',
					deliveries_count = deliveries_count + 1 WHERE queue = 'orders'`, another)
				if err != nil {
					t.Error(err)
				}
				close(stolen)
			}
			sub := orders.Handle(func(ctx context.Context, _ order) error { return v.do(ctx, nil, late) })
			if v.inTx {
				sub = orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ order) error { return v.do(ctx, tx, late) })
			}
			stop := start(t, db.Pool, sub)
			next(t, stolen)
			is.NoErr(stop())

			var token string
			var attempts, deliveries int
			is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT acquired_token::text, attempts_count, deliveries_count FROM outbox`).
				Scan(&token, &attempts, &deliveries))
			is.Equal(token, another)
			is.Equal(attempts, 0)
			is.Equal(deliveries, 2)
			is.Equal(rows(t, db.Pool, "outbox_dlq"), 0)
			is.Equal(rows(t, db.Pool, "effects"), 0)
		})
	}
}

func TestWorker_CancelsAHandlerWhoseLeaseIsLost(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	begun, cause := make(chan struct{}), make(chan error, 1)
	start(t, db.Pool, queue.Lease(300*time.Millisecond), queue.PollInterval(time.Hour), orders.Handle(func(ctx context.Context, _ order) error {
		close(begun)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil
	}))
	next(t, begun)
	_, err := db.Pool.Exec(t.Context(), `UPDATE outbox SET acquired_token = gen_random_uuid()`)
	is.NoErr(err)
	is.Equal(next(t, cause), queue.ErrLeaseLost)
}

// A process that was stopped while a message waited for its transaction's connection
// may find the lease gone when it goes on, before its keeper does.
func TestHandleTx_IsNotCalledAfterALongWaitForAConnectionIfTheLeaseIsGone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	pool := db.Connect(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	const lease = 20 * time.Second // the keeper looks after a third of it, and this test does its work in a tenth
	said, called := make(messages, 100), make(chan struct{}, 1)
	conn, err := pool.Acquire(t.Context())
	is.NoErr(err)
	start(t, pool, queue.Logger(slog.New(said)), queue.Lease(lease), orders.HandleTx(func(context.Context, pgx.Tx, order) error {
		called <- struct{}{}
		return nil
	}))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox WHERE acquired_token IS NOT NULL")
	time.Sleep(lease/10 + 100*time.Millisecond) // the wait that is meant
	_, err = db.Pool.Exec(t.Context(), `UPDATE outbox SET acquired_token = gen_random_uuid()`)
	is.NoErr(err)
	conn.Release()
	for next(t, said) != "handler's transaction was not committed; the message is handed back" {
	}
	is.Equal(len(called), 0)
}

func TestTx_AResultThatIsLeftOpenIsAFailure(t *testing.T) {
	t.Parallel()
	open := func(ctx context.Context, tx pgx.Tx) {
		_, _ = tx.Query(ctx, "SELECT generate_series(1, 1000)") // and nobody reads it
	}
	retries := queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 2})
	for name, form := range map[string]queue.Subscription{
		"HandleTx": orders.HandleTx(func(ctx context.Context, tx pgx.Tx, o order) error {
			if o.ID == 1 {
				open(ctx, tx)
			}
			return nil
		}, retries),
		"HandleBatchTx": orders.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, ms []*typed.Message[order]) []error {
			for _, m := range ms {
				if m.Value.ID == 1 {
					open(ctx, tx)
				}
			}
			return make([]error, len(ms))
		}, retries),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buriesOne(t, form, "%close its rows%")
		})
	}
}

// A server that ends a transaction for being idle has to do with the handler, whatever
// way leads to it: it is a failed attempt, and not for ever.
func TestHandleTx_IdleForLongerThanTheServerAllowsIsAFailure(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	pool := db.Connect(t, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "50ms"
	})
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	var runs atomic.Int64
	start(t, pool, orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ order) error {
		runs.Add(1)
		pid := tx.Conn().PgConn().PID()
		eventually(t, db.Pool, 0, "SELECT count(*)::int FROM pg_stat_activity WHERE pid = $1", pid)
		time.Sleep(110 * time.Millisecond) // from 100 ms on it is asked for
		return nil
	}, queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 2})))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE last_exception LIKE '%idle-in-transaction timeout%'")
	is.Equal(runs.Load(), int64(2))
}

func TestHandleBatch_AnOutcomeForEach(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	var ids []int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		ids, err = orders.PublishBatch(t.Context(), tx, []order{{ID: 0}, {ID: 1}, {ID: 2}, {ID: 3}, {ID: 4}})
		if err == nil {
			_, err = tx.Exec(t.Context(), `UPDATE outbox SET payload = 'no order' WHERE id = $1`, ids[1])
		}
		return err
	})
	sizes := make(chan int, 10)
	start(t, db.Pool, orders.HandleBatch(func(_ context.Context, batch []*typed.Message[order]) []error {
		sizes <- len(batch)
		for i, m := range batch {
			if m.Value.ID != []int{0, 2, 3, 4}[i] {
				t.Errorf("message %d at %d", m.Value.ID, i)
			}
		}
		_ = batch[2].Reject("no")
		return []error{nil, queue.Permanent(errBroken), nil} // and none for the last
	}, queue.Retry(retry.Never{})))
	is.Equal(next(t, sizes), 4)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
	is.Equal(fateOf(t, db.Pool, ids[0]), fate{})
	is.Equal(fateOf(t, db.Pool, ids[1]).Reason, "decode_error")
	is.Equal(fateOf(t, db.Pool, ids[2]), fate{Reason: "retry_terminal", Error: "broken"})
	is.Equal(fateOf(t, db.Pool, ids[3]), fate{Reason: "rejected", Error: "no"})
	is.Equal(fateOf(t, db.Pool, ids[4]), fate{Reason: "retry_terminal", Error: queue.ErrNoOutcome.Error() + ": 3 outcomes for 4 messages; each needs one, nil if it is done"})
}

func TestHandleBatch_PanicFailsAll(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, make([]order, 3))
		return err
	})
	start(t, db.Pool, orders.HandleBatch(func(context.Context, []*typed.Message[order]) []error { panic("oh") }, queue.Retry(retry.Never{})))
	eventually(t, db.Pool, 3, "SELECT count(*)::int FROM outbox_dlq WHERE last_exception LIKE 'panic: oh%'")
}

// shipAll is ship for batches.
func shipAll(ctx context.Context, tx pgx.Tx, batch []*typed.Message[order]) []error {
	out := make([]error, len(batch))
	for i, m := range batch {
		out[i] = ship(ctx, tx, m.Value)
	}
	return out
}

func TestHandleBatchTx_HandlesAndDeletesInOneTransaction(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	withEffects(t, db.Pool)
	const n = 1000
	values := make([]order, n)
	for i := range values {
		values[i].ID = i
	}
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, values)
		return err
	})
	var leased atomic.Int64
	handle := func(ctx context.Context, tx pgx.Tx, batch []*typed.Message[order]) []error {
		var held int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE acquired_token IS NOT NULL`).Scan(&held); err != nil {
			t.Error(err)
		}
		leased.Add(held)
		return shipAll(ctx, tx, batch)
	}
	start(t, db.Pool, orders.HandleBatchTx(handle))
	start(t, db.Pool, orders.HandleBatchTx(handle, queue.Concurrency(2)))
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox WHERE queue = 'orders'")
	is.Equal(leased.Load(), int64(0)) // no lease was ever written
	eventually(t, db.Pool, n, "SELECT count(DISTINCT order_id)::int FROM effects")
	is.Equal(rows(t, db.Pool, "effects"), n)
	is.Equal(rows(t, db.Pool, "outbox"), n) // all went on to shipping

	commit(t, db.Pool, func(tx pgx.Tx) error { // what comes later wakes it
		_, err := orders.Publish(t.Context(), tx, order{ID: n})
		return err
	})
	eventually(t, db.Pool, n+1, "SELECT count(*)::int FROM effects")
}

func TestHandleBatchTx_OneBadMessageDoesNotDoomTheBatch(t *testing.T) {
	t.Parallel()
	bad := map[string]func(ctx context.Context, tx pgx.Tx) error{
		"error": func(context.Context, pgx.Tx) error { return errBroken },
		"panic": func(context.Context, pgx.Tx) error { panic("oh") },
		"statement that fails": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "SELECT 1/0")
			return err
		},
		"statement that fails, in silence": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "SELECT 1/0")
			return nil
		},
		"late refusal": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO strict VALUES (1), (1)")
			return err
		},
	}
	for name, fail := range bad {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			withEffects(t, db.Pool)
			_, err := db.Pool.Exec(t.Context(), `CREATE TABLE strict (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
			is.NoErr(err)
			const n = 20
			values := make([]order, n)
			for i := range values {
				values[i].ID = i
			}
			var ids []int64
			commit(t, db.Pool, func(tx pgx.Tx) (err error) {
				ids, err = orders.PublishBatch(t.Context(), tx, values)
				return err
			})
			start(t, db.Pool, orders.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, batch []*typed.Message[order]) []error {
				out := make([]error, len(batch))
				for i, m := range batch {
					out[i] = ship(ctx, tx, m.Value)
					if out[i] == nil && (m.Value.ID == 7 || m.Value.ID == 11) {
						out[i] = fail(ctx, tx)
					}
				}
				return out
			}, queue.Retry(retry.Constant{Delay: soon, MaxAttempts: 2})))
			eventually(t, db.Pool, 2, "SELECT count(*)::int FROM outbox_dlq WHERE deliveries_count = 2 AND failure_reason = 'retry_terminal'")
			eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox WHERE queue = 'orders'")
			is.Equal(rows(t, db.Pool, "effects"), n-2)
			is.Equal(rows(t, db.Pool, "outbox"), n-2)
			is.True(fateOf(t, db.Pool, ids[7]).Reason != "")
			is.True(fateOf(t, db.Pool, ids[11]).Reason != "")
		})
	}
}

func TestHandleBatchTx_IsBoundedInTime(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	withEffects(t, db.Pool)
	values := make([]order, 10)
	for i := range values {
		values[i].ID = i
	}
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, values)
		return err
	})
	start(t, db.Pool, orders.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, batch []*typed.Message[order]) []error {
		out := make([]error, len(batch))
		for i, m := range batch {
			if m.Value.ID == 3 {
				<-ctx.Done() // hangs
			}
			out[i] = ship(ctx, tx, m.Value)
		}
		return out
	}, queue.Timeout(200*time.Millisecond), queue.Retry(retry.Never{})))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE failure_reason = 'retry_terminal'")
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox WHERE queue = 'orders'")
	is.Equal(rows(t, db.Pool, "effects"), 9)
}

func TestHandleBatchTx_TakesOverExpiredLeases(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	withEffects(t, db.Pool)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, make([]order, 3))
		if err == nil {
			_, err = tx.Exec(t.Context(), `UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now() - interval '1 hour'`)
		}
		return err
	})
	start(t, db.Pool, orders.HandleBatchTx(shipAll))
	eventually(t, db.Pool, 3, "SELECT count(*)::int FROM effects")
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox WHERE queue = 'orders'")
}

func TestHandleBatchTx_CountsTheDeliveriesOfWhatItTakesOver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	commit(t, db.Pool, func(tx pgx.Tx) error { // each was delivered once, to a worker that died
		_, err := orders.PublishBatch(t.Context(), tx, []order{{ID: 0}, {ID: 1}, {ID: 2}})
		if err == nil {
			_, err = tx.Exec(t.Context(), `UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now() - interval '1 hour', deliveries_count = 1`)
		}
		return err
	})
	seen := make(chan int64, 3)
	start(t, db.Pool, orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*typed.Message[order]) []error {
		out := make([]error, len(batch))
		for i, m := range batch {
			seen <- m.Deliveries
			out[i] = []error{queue.Snooze(time.Hour), queue.RetryAfter(errBroken, time.Hour), queue.Permanent(errBroken)}[m.Value.ID]
		}
		return out
	}))
	for range 3 {
		is.Equal(next(t, seen), int64(2))
	}
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox WHERE acquired_token IS NULL AND deliveries_count = 1 AND attempts_count = 0")
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox WHERE acquired_token IS NULL AND deliveries_count = 2 AND attempts_count = 1")
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE deliveries_count = 2")
}

func TestHandleBatchTx_RefusesWhatWasDeliveredTooOften(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	withEffects(t, db.Pool)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		ids, err := orders.PublishBatch(t.Context(), tx, []order{{ID: 1}, {ID: 2}})
		if err == nil {
			_, err = tx.Exec(t.Context(), `UPDATE outbox SET deliveries_count = 3 WHERE id = $1`, ids[0])
		}
		return err
	})
	start(t, db.Pool, orders.HandleBatchTx(shipAll, queue.MaxDeliveries(3)))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE failure_reason = 'max_deliveries' AND deliveries_count = 4")
	eventually(t, db.Pool, 2, "SELECT COALESCE(sum(order_id), 0)::int FROM effects")
	is.Equal(rows(t, db.Pool, "effects"), 1)
}

func TestDeadLetters_WaitForTheirTableToBeMended(t *testing.T) {
	t.Parallel()
	forms := map[string]func(f func(order) error) queue.Subscription{
		"leased": func(f func(order) error) queue.Subscription {
			return orders.Handle(func(_ context.Context, o order) error { return f(o) })
		},
		"held": func(f func(order) error) queue.Subscription {
			return orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*typed.Message[order]) []error {
				out := make([]error, len(batch))
				for i, m := range batch {
					out[i] = f(m.Value)
				}
				return out
			})
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			const n = 200
			publish := func(from int) {
				values := make([]order, n)
				for i := range values {
					values[i].ID = from + i
				}
				commit(t, db.Pool, func(tx pgx.Tx) error {
					_, err := orders.PublishBatch(t.Context(), tx, values)
					return err
				})
			}
			var handled atomic.Int64
			start(t, db.Pool, form(func(o order) error {
				if o.ID%10 == 0 {
					return queue.Permanent(errBroken)
				}
				handled.Add(1)
				return nil
			}))
			publish(0)
			eventually(t, db.Pool, n/10, "SELECT count(*)::int FROM outbox_dlq")
			_, err := db.Pool.Exec(t.Context(), `ALTER TABLE outbox_dlq RENAME TO away`)
			is.NoErr(err)
			publish(n)
			// Only what cannot be buried stays; the rest goes on.
			eventually(t, db.Pool, n/10, "SELECT count(*)::int FROM outbox")
			is.True(handled.Load() >= int64(2*n-2*n/10))
			_, err = db.Pool.Exec(t.Context(), `ALTER TABLE away RENAME TO outbox_dlq`)
			is.NoErr(err)
			if name == "held" { // it is tried again after 15 s, which are over now
				var soon bool
				is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT bool_and(next_attempt_at < now() + interval '16 seconds') FROM outbox`).Scan(&soon))
				is.True(soon)
				_, err = db.Pool.Exec(t.Context(), `UPDATE outbox SET next_attempt_at = now()`)
				is.NoErr(err)
				_, err = db.Pool.Exec(t.Context(), `SELECT pg_notify('outbox_outbox', 'orders')`)
				is.NoErr(err)
			}
			eventually(t, db.Pool, 2*n/10, "SELECT count(*)::int FROM outbox_dlq")
			is.Equal(rows(t, db.Pool, "outbox"), 0)
			if name == "leased" { // the other form runs a batch again without what failed
				is.Equal(handled.Load(), int64(2*n-2*n/10)) // nothing was run twice
			}
		})
	}
}

func TestHandlerTx_CannotBeEndedByTheHandler(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	said := make(chan error, 2)
	start(t, db.Pool, orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ order) error {
		said <- tx.Commit(ctx)
		said <- tx.Rollback(ctx)
		return nil
	}))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, order{})
		return err
	})
	for range 2 {
		err := next(t, said)
		is.True(errors.Is(err, queue.ErrTxOwned))
		is.True(strings.Contains(err.Error(), "worker commits"))
	}
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}
