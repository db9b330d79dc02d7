package typed_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// pauseQueue and resumeQueue commit by themselves.
func pauseQueue(t *testing.T, db *pgtest.DB, q typed.Queue[order]) bool {
	t.Helper()
	changed, err := q.Bytes().Pause(t.Context(), queue.Autocommit(db.Pool))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func resumeQueue(t *testing.T, db *pgtest.DB, q typed.Queue[order]) bool {
	t.Helper()
	changed, err := q.Bytes().Resume(t.Context(), queue.Autocommit(db.Pool))
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// Each form of handler waits, and a worker that is started meanwhile does too. That
// nothing came shows at another queue of the same worker, whose messages are
// published later and come first.
func TestPause_HoldsAQueueUntilResume(t *testing.T) {
	t.Parallel()
	orders, mails := typed.NewQueue[order]("orders"), typed.NewQueue[order]("mails")
	forms := map[string]func(func(order)) queue.Subscription{
		"Handle": func(f func(order)) queue.Subscription {
			return orders.Handle(func(_ context.Context, o order) error { f(o); return nil })
		},
		"HandleTx": func(f func(order)) queue.Subscription {
			return orders.HandleTx(func(_ context.Context, _ pgx.Tx, o order) error { f(o); return nil })
		},
		"HandleBatch": func(f func(order)) queue.Subscription {
			return orders.HandleBatch(func(_ context.Context, batch []*typed.Message[order]) []error {
				for _, m := range batch {
					f(m.Value)
				}
				return make([]error, len(batch))
			})
		},
		"HandleBatchTx": func(f func(order)) queue.Subscription {
			return orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*typed.Message[order]) []error {
				for _, m := range batch {
					f(m.Value)
				}
				return make([]error, len(batch))
			})
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			ordered, mailed := make(chan order, 10), make(chan order, 10)
			work := func() (stop func() error) {
				return start(t, db.Pool, form(func(o order) { ordered <- o }), mails.Handle(func(_ context.Context, o order) error {
					mailed <- o
					return nil
				}))
			}
			publish := func(q typed.Queue[order], id int) {
				commit(t, db.Pool, func(tx pgx.Tx) error {
					_, err := q.Publish(t.Context(), tx, order{ID: id})
					return err
				})
			}
			stop := work()
			publish(orders, 1)
			is.Equal(next(t, ordered).ID, 1)

			is.True(pauseQueue(t, db, orders))
			is.True(!pauseQueue(t, db, orders))
			for id := 2; id <= 4; id++ {
				publish(orders, id)
				publish(mails, id)
				is.Equal(next(t, mailed).ID, id)
			}
			is.NoErr(stop()) // the pause is kept over a restart
			stop = work()
			publish(mails, 5)
			is.Equal(next(t, mailed).ID, 5)
			is.Equal(len(ordered), 0)

			resumed := time.Now()
			is.True(resumeQueue(t, db, orders))
			is.True(!resumeQueue(t, db, orders))
			for range 3 {
				next(t, ordered)
			}
			is.True(time.Since(resumed) < 5*time.Second) // the worker was told; its poll comes after 30 s
			is.NoErr(stop())
			var left int
			is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM outbox`).Scan(&left))
			is.Equal(left, 0) // no mark is left either
		})
	}
}

func TestPause_IsPartOfTheTransaction(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	changed, err := orders.Bytes().Pause(t.Context(), tx)
	is.NoErr(err)
	is.True(changed)
	is.NoErr(tx.Rollback(t.Context()))
	paused, err := queue.Outbox{}.Paused(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(len(paused), 0)

	before := time.Now()
	is.True(pauseQueue(t, db, orders))
	paused, err = queue.Outbox{}.Paused(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(len(paused), 1)
	is.Equal(paused[0].Queue, "orders")
	is.True(paused[0].Since.Sub(before).Abs() < time.Minute)
}

func TestPause_Errors(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	elsewhere := queue.Outbox{Table: "elsewhere"}
	_, err := queue.New("orders").In(elsewhere).Pause(t.Context(), queue.Autocommit(db.Pool))
	is.True(errors.Is(err, queue.ErrNoTable))
	_, err = elsewhere.Paused(t.Context(), db.Pool)
	is.True(errors.Is(err, queue.ErrNoTable))
	_, err = queue.New("").Pause(t.Context(), queue.Autocommit(db.Pool))
	is.True(errors.Is(err, queue.ErrInvalidName))
	_, err = queue.New("orders").Resume(t.Context(), nil)
	is.True(errors.Is(err, queue.ErrNoTransaction))
	// The marks are no queue of anybody's.
	is.True(errors.Is(queue.New("letterbox.paused").Err(), queue.ErrInvalidName))
}
