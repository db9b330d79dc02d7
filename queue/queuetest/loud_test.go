package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/timers"
)

// commit runs f in a transaction of its own.
func commit(t testing.TB, db queue.Beginner, f func(tx pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), db, f); err != nil {
		t.Fatal(err)
	}
}

// watched stands in for a test that should fail.
type watched struct {
	testing.TB
	said []string
}

func (w *watched) Helper() {}

func (w *watched) Errorf(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *watched) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	panic(w)
}

// watch calls f with a test that it may end.
func watch(t *testing.T, f func(t testing.TB)) (said string) {
	t.Helper()
	w := &watched{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(w) {
			panic(r)
		}
		said = strings.Join(w.said, "\n")
	}()
	f(w)
	return ""
}

func TestBox_SQLFailsLoudly(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, tt := range []struct {
		name string
		call func(box *queuetest.Box, tx pgx.Tx) error
		says string
	}{
		{"Exec", func(_ *queuetest.Box, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO orders DEFAULT VALUES")
			return err
		}, "Exec INSERT INTO orders"},
		{"Query", func(_ *queuetest.Box, tx pgx.Tx) error {
			rows, _ := tx.Query(ctx, "SELECT 1") // CollectRows reports it
			_, err := pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		}, "Query SELECT 1"},
		{"QueryRow", func(_ *queuetest.Box, tx pgx.Tx) error {
			return tx.QueryRow(ctx, "SELECT 1").Scan(new(int))
		}, "QueryRow SELECT 1"},
		{"SendBatch", func(_ *queuetest.Box, tx pgx.Tx) error {
			b := &pgx.Batch{}
			b.Queue("SELECT 1")
			return tx.SendBatch(ctx, b).Close()
		}, "SendBatch of 1"},
		{"CopyFrom", func(_ *queuetest.Box, tx pgx.Tx) error {
			_, err := tx.CopyFrom(ctx, pgx.Identifier{"orders"}, nil, nil)
			return err
		}, `CopyFrom into "orders"`},
		{"Prepare", func(_ *queuetest.Box, tx pgx.Tx) error {
			_, err := tx.Prepare(ctx, "p", "SELECT 1")
			return err
		}, "Prepare SELECT 1"},
		{"Conn", func(_ *queuetest.Box, tx pgx.Tx) error {
			tx.Conn()
			return queuetest.ErrNoDatabase
		}, "Conn"},
		{"LargeObjects", func(_ *queuetest.Box, tx pgx.Tx) error {
			tx.LargeObjects()
			return queuetest.ErrNoDatabase
		}, "LargeObjects"},
		{"of the box", func(box *queuetest.Box, _ pgx.Tx) error {
			return box.QueryRow(ctx, "SELECT 1").Scan(new(int))
		}, "QueryRow SELECT 1"},
		{"serializable", func(box *queuetest.Box, _ pgx.Tx) error {
			_, err := box.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
			return err
		}, "serializable"},
		{"a bridge that hides what the transaction is", func(_ *queuetest.Box, tx pgx.Tx) error {
			_, err := orders.Publish(ctx, struct{ queue.Tx }{tx}, nil)
			return err
		}, "QueryRow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			said := watch(t, func(t testing.TB) {
				box := queuetest.New(t)
				tx, err := box.Begin(ctx)
				is.NoErr(err)
				is.True(errors.Is(tt.call(box, tx), queuetest.ErrNoDatabase))
			})
			is.True(strings.Contains(said, tt.says))
			is.True(strings.Contains(said, "real PostgreSQL"))
		})
	}
}

func TestDeliver_AHandlerThatUsesSQLFailsTheTest(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	said := watch(t, func(t testing.TB) {
		box := queuetest.New(t)
		box.Deliver(orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ *queue.Delivery) error {
			_, err := tx.Exec(ctx, "INSERT INTO parcels DEFAULT VALUES")
			return err
		}))
		_, err := orders.Publish(t.Context(), queue.Autocommit(box), nil)
		is.NoErr(err)
		is.Equal(queuetest.Messages(t, box, orders)[0].Attempts, int64(1))
	})
	is.True(strings.Contains(said, "Exec INSERT INTO parcels"))
}

func TestDeliver_RefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	j := new(journal)
	for _, tt := range []struct {
		name string
		call func(box *queuetest.Box)
		says string
	}{
		{"no handler", func(box *queuetest.Box) { box.Deliver(orders.Handle(nil)) }, "handler is nil"},
		{"nothing", func(box *queuetest.Box) { box.Deliver() }, "no subscription"},
		{"a queue twice", func(box *queuetest.Box) {
			box.Deliver(orders.Handle(j.handle))
			box.Deliver(orders.Handle(j.handle))
		}, "delivered already"},
		{"what goes on beside a worker", func(box *queuetest.Box) {
			box.Deliver(orders.Handle(j.handle), dlq.In(queue.Outbox{}).Retain(time.Hour))
		}, "needs a worker"},
		{"no end", func(box *queuetest.Box) {
			box.Deliver(orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ *queue.Delivery) error {
				_, err := orders.Publish(ctx, tx, nil)
				return err
			}))
			_, _ = orders.Publish(t.Context(), queue.Autocommit(box), nil)
			box.Advance(time.Hour) // and this ends, too
		}, "still one that is due"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			said := watch(t, func(t testing.TB) { tt.call(queuetest.New(t)) })
			if !strings.Contains(said, tt.says) {
				t.Errorf("it says %q, and nothing of %q", said, tt.says)
			}
		})
	}
}

func TestDeliver_RecurringWork(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var ticks []time.Time
	box.Deliver(
		mails.Handle(func(context.Context, *queue.Delivery) error { return nil }),
		timers.Recur(mails, "hourly", timers.Every(time.Hour), func(tick timers.Tick) queue.Draft {
			ticks = append(ticks, tick.At)
			return mails.Draft(nil)
		}),
	)
	box.Advance(24 * time.Hour)
	is.Equal(len(ticks), 24)
	is.Equal(ticks[23].Sub(ticks[0]), 23*time.Hour)
	is.Equal(len(queuetest.Published(t, box, mails)), 24)
}

// A handler that leaves a transaction open which has its own message locked would
// keep a worker waiting, too.
func TestDeliver_AnOpenTransactionThatLocksTheMessageFailsTheTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it is waited for
		said := watch(t, func(t testing.TB) {
			box := queuetest.New(t)
			box.Deliver(orders.Handle(func(ctx context.Context, d *queue.Delivery) error {
				tx, err := box.Begin(ctx)
				if err == nil {
					_, err = timers.RescheduleAfter(ctx, tx, d.TimerID, time.Hour, orders.Draft(nil))
				}
				return err // and the transaction is forgotten
			}))
			commit(t, box, func(tx pgx.Tx) error {
				_, err := timers.ScheduleAfter(t.Context(), tx, "t", 0, orders.Draft(nil))
				return err
			})
		})
		if !strings.Contains(said, "locked") {
			t.Errorf("it says %q", said)
		}
	})
}

func TestDeliver_ATimerThatReschedulesItselfComesAgain(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	began := box.Now()
	var j journal
	box.Deliver(orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
		j.add("%s after %v", d.TimerID, box.Now().Sub(began))
		res, err := timers.RescheduleAfter(ctx, tx, d.TimerID, time.Hour, orders.Draft(nil))
		is.Equal(res.Outcome, timers.Rearmed)
		return err
	}))
	commit(t, box, func(tx pgx.Tx) error {
		res, err := timers.ScheduleAfter(t.Context(), tx, "t", time.Hour, orders.Draft(nil))
		is.Equal(res.DueAt, began.Add(time.Hour))
		return err
	})
	box.Advance(3*time.Hour + time.Minute)
	is.Equal(j.take(), []string{"t after 1h0m0s", "t after 2h0m0s", "t after 3h0m0s"})
	n, err := timers.Of(orders).Count(t.Context(), box, timers.Filter{})
	is.NoErr(err)
	is.Equal(n.Waiting, int64(1))
	commit(t, box, func(tx pgx.Tx) error {
		_, err := timers.Of(orders).Cancel(t.Context(), tx, "t")
		return err
	})
	box.Advance(48 * time.Hour)
	is.Equal(len(j.take()), 0)
}
