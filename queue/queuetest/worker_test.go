package queuetest_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
)

// start runs a worker of the box until the bubble's end, or until stop.
func start(t *testing.T, box *queuetest.Box, opts ...queue.WorkerOption) (stop func() error) {
	t.Helper()
	w, err := box.NewWorker(opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	synctest.Wait()
	return stop
}

// sleep moves the bubble's clock, and waits until everything is done that this sets off.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestWorker_IsWokenAndRetriesOverHours(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		began := time.Now()
		var j journal
		start(t, box, orders.Handle(func(_ context.Context, d *queue.Delivery) error {
			j.add("attempt %d after %v", d.Attempt, time.Since(began).Round(time.Second))
			if d.Attempt < 5 {
				return errors.New("not yet")
			}
			return nil
		}, queue.Retry(retry.Exponential{First: time.Hour, MaxDelay: 100 * time.Hour, MaxAttempts: 10})))

		publish(t, box, orders, "1")
		synctest.Wait() // no time passes: the commit wakes the worker
		is.Equal(j.take(), []string{"attempt 1 after 0s"})
		sleep(24 * time.Hour)
		is.Equal(j.take(), []string{"attempt 2 after 1h0m0s", "attempt 3 after 3h0m0s", "attempt 4 after 7h0m0s", "attempt 5 after 15h0m0s"})
		is.Equal(len(queuetest.Messages(t, box, orders)), 0)
	})
}

func TestWorker_TimersFireAtTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		at := time.Now().Add(3 * 24 * time.Hour)
		var j journal
		start(t, box, orders.Handle(func(context.Context, *queue.Delivery) error {
			j.add("%v late", time.Since(at).Round(10*time.Millisecond))
			return nil
		}))
		commit(t, box, func(tx pgx.Tx) error {
			_, err := timers.Schedule(t.Context(), tx, "t", at, orders.Draft(nil))
			return err
		})
		sleep(3*24*time.Hour - time.Second)
		is.Equal(len(j.take()), 0)
		sleep(2 * time.Second)
		is.Equal(j.take(), []string{"0s late"})
	})
}

func TestWorker_AHandlerMayRunLongerThanItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		var j journal
		slow := orders.Handle(func(ctx context.Context, _ *queue.Delivery) error {
			j.add("begin")
			time.Sleep(time.Hour)
			j.add("end, cause %v", context.Cause(ctx))
			return nil
		}, queue.Lease(time.Minute))
		start(t, box, slow)
		start(t, box, slow) // another that would take it
		publish(t, box, orders, "1")
		sleep(2 * time.Hour)
		is.Equal(j.take(), []string{"begin", "end, cause <nil>"})
		is.Equal(len(queuetest.Messages(t, box, orders)), 0)
	})
}

// A worker that is stopped leaves a handler behind that ignores its context. Its
// lease runs out, another worker takes the message, and what the first says in the
// end changes nothing.
func TestWorker_ALeaseRunsOutAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		var j journal
		hang := make(chan struct{})
		stop := start(t, box, queue.Grace(time.Second), orders.Handle(func(ctx context.Context, d *queue.Delivery) error {
			j.add("first begins")
			<-hang
			j.add("first ends, cause %v", context.Cause(ctx))
			return queue.Permanent(errors.New("late"))
		}, queue.Lease(time.Minute)))
		publish(t, box, orders, "1")
		synctest.Wait()
		is.True(queuetest.Messages(t, box, orders)[0].Leased)
		is.True(errors.Is(stop(), queue.ErrUnfinished))

		start(t, box, orders.Handle(func(_ context.Context, d *queue.Delivery) error {
			j.add("second, delivery %d, attempt %d", d.Deliveries, d.Attempt)
			return nil
		}, queue.Lease(time.Minute)))
		sleep(30 * time.Second)
		is.Equal(j.take(), []string{"first begins"})
		sleep(time.Minute)
		is.Equal(j.take(), []string{"second, delivery 2, attempt 1"})
		close(hang)
		sleep(time.Minute)
		is.Equal(j.take(), []string{"first ends, cause worker is shutting down"})
		is.Equal(len(queuetest.DeadLetters(t, box, orders)), 0)
	})
}

func TestWorker_Drains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		var j journal
		stop := start(t, box, queue.Grace(time.Minute), orders.Handle(func(ctx context.Context, d *queue.Delivery) error {
			select {
			case <-time.After(30 * time.Second):
				j.add("done")
			case <-ctx.Done():
				j.add("cut off: %v", context.Cause(ctx))
			}
			return ctx.Err()
		}, queue.Concurrency(2), queue.Prefetch(10)))
		for range 5 {
			publish(t, box, orders, "1")
		}
		sleep(10 * time.Second)
		began := time.Now()
		is.NoErr(stop())
		is.Equal(time.Since(began).Round(time.Second), 20*time.Second)
		is.Equal(j.take(), []string{"done", "done"})
		is.Equal(len(queuetest.Pending(t, box, orders)), 3) // handed back, unstarted
		for _, m := range queuetest.Messages(t, box, orders) {
			is.Equal(m.Attempts, int64(0))
		}
	})
}

func TestWorker_AllFormsAndTheTransactionOfTheHandler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		start(t, box,
			orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
				_, err := mails.Publish(ctx, tx, d.Payload)
				return err
			}),
			mails.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, batch []*queue.Delivery) []error {
				outcomes := make([]error, len(batch))
				for i, d := range batch {
					if _, err := parcels.Publish(ctx, tx, d.Payload); err != nil {
						outcomes[i] = err
					}
					if string(d.Payload) == "bad" {
						outcomes[i] = queue.Permanent(errors.New("bad"))
					}
				}
				return outcomes
			}),
		)
		for _, p := range []string{"1", "bad", "2"} {
			publish(t, box, orders, p)
		}
		sleep(time.Second)
		is.Equal(len(queuetest.Messages(t, box, orders)), 0)
		is.Equal(len(queuetest.Messages(t, box, mails)), 0)
		is.Equal(len(queuetest.Messages(t, box, parcels)), 2)
		is.Equal(len(queuetest.DeadLetters(t, box, mails)), 1)
	})
}

func TestWorker_RecurringWorkAndRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		var ticks int
		start(t, box,
			orders.Handle(func(context.Context, *queue.Delivery) error { return queue.Permanent(errors.New("no")) }),
			mails.Handle(func(context.Context, *queue.Delivery) error { ticks++; return nil }),
			timers.Recur(mails, "daily", timers.Cron("30 2 * * *", "UTC"), func(timers.Tick) queue.Draft { return mails.Draft(nil) }),
			dlq.In(queue.Outbox{}).Retain(24*time.Hour),
		)
		publish(t, box, orders, "1")
		synctest.Wait()
		is.Equal(len(queuetest.DeadLetters(t, box, orders)), 1)
		sleep(72 * time.Hour)
		is.Equal(ticks, 3)
		is.Equal(len(queuetest.DeadLetters(t, box, orders)), 0)
	})
}

func TestNewWorker_ChecksAsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	_, err := box.NewWorker()
	is.True(err != nil)
	_, err = box.NewWorker(orders.Handle(nil, queue.Concurrency(0)), queue.PollInterval(0))
	for _, want := range []string{"handler is nil", "concurrency", "poll interval"} {
		is.True(strings.Contains(err.Error(), want))
	}
	pool := func(context.Context, *pgxpool.Pool, *slog.Logger) error { return nil }
	_, err = box.NewWorker(orders.Handle(new(journal).handle), queue.Background("report", pool), queue.ListenOn(&pgx.ConnConfig{}))
	for _, want := range []string{`"report" needs a pool`, "listen"} {
		is.True(strings.Contains(err.Error(), want))
	}
}

// A worker that hangs for so long that its lease is gone commits nothing.
func TestWorker_WhoHasLostTheLeaseCommitsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		var j journal
		hang := make(chan struct{})
		stop := start(t, box, queue.Grace(0), orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			<-hang
			_, err := mails.Publish(context.WithoutCancel(ctx), tx, []byte("late"))
			j.add("late, %v", err)
			return err
		}, queue.Lease(time.Minute)))
		publish(t, box, orders, "1")
		synctest.Wait()
		is.True(errors.Is(stop(), queue.ErrUnfinished))
		start(t, box, orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_, err := mails.Publish(ctx, tx, []byte("in time"))
			return err
		}, queue.Lease(time.Minute)))
		sleep(2 * time.Minute)
		close(hang)
		sleep(time.Minute)
		is.Equal(j.take(), []string{"late, <nil>"})
		is.Equal(texts(queuetest.Published(t, box, mails)), []string{"in time"})
	})
}

func TestWorker_RestsOnAPausedQueue(t *testing.T) {
	t.Parallel()
	var j journal
	forms := map[string]queue.Subscription{
		"HandleTx": orders.HandleTx(func(_ context.Context, _ pgx.Tx, d *queue.Delivery) error {
			j.add("%s", d.Payload)
			return nil
		}),
		"HandleBatchTx": orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, batch []*queue.Delivery) []error {
			for _, d := range batch {
				j.add("%s", d.Payload)
			}
			return make([]error, len(batch))
		}),
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				box := queuetest.New(t)
				start(t, box, form)
				_, err := orders.Pause(t.Context(), queue.Autocommit(box))
				is.NoErr(err)
				_, err = orders.Publish(t.Context(), queue.Autocommit(box), []byte("1"))
				is.NoErr(err)
				sleep(time.Hour)
				is.Equal(len(j.take()), 0)

				_, err = orders.Resume(t.Context(), queue.Autocommit(box))
				is.NoErr(err)
				synctest.Wait()
				is.Equal(j.take(), []string{"1"})
			})
		})
	}
}
