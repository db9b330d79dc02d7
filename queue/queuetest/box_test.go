package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/queue/retry"
)

var (
	orders  = queue.New("orders")
	mails   = queue.New("mails")
	parcels = queue.New("parcels").In(queue.Outbox{Schema: "warehouse"})
)

// publish is the code under test: it commits one message.
func publish(t *testing.T, db queue.Beginner, q queue.Queue, payload string, opts ...queue.PublishOption) int64 {
	t.Helper()
	var id int64
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) (err error) {
		id, err = q.Publish(t.Context(), tx, []byte(payload), opts...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// texts are payloads.
func texts(all []queuetest.Message) []string {
	list := []string{}
	for _, m := range all {
		list = append(list, string(m.Payload))
	}
	return list
}

// journal is a handler that writes down what it gets.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func (j *journal) handle(_ context.Context, d *queue.Delivery) error {
	j.add("%s %s", d.Queue, d.Payload)
	return nil
}

func TestBox_AMessageExistsIfTheTransactionCommits(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	tx, err := box.Begin(t.Context())
	is.NoErr(err)
	_, err = orders.Publish(t.Context(), tx, []byte("1"), queue.Headers(map[string]string{"tenant": "a"}), queue.CorrelationID("c"))
	is.NoErr(err)
	_, err = queue.Publish(t.Context(), tx, orders.Draft([]byte("2"), queue.Delay(time.Hour)), parcels.Draft([]byte("3")))
	is.NoErr(err)

	is.Equal(texts(queuetest.Messages(t, tx, orders)), []string{"1", "2"}) // the transaction sees them
	is.Equal(len(queuetest.Messages(t, box, orders)), 0)                   // nobody else does
	is.NoErr(tx.Commit(t.Context()))
	is.Equal(tx.Commit(t.Context()), pgx.ErrTxClosed)
	is.Equal(tx.Rollback(t.Context()), pgx.ErrTxClosed)

	is.Equal(texts(queuetest.Pending(t, box, orders)), []string{"1"})
	later := queuetest.Scheduled(t, box, orders)
	is.Equal(texts(later), []string{"2"})
	is.Equal(later[0].Delay(), time.Hour)
	is.Equal(texts(queuetest.Messages(t, box, parcels)), []string{"3"})
	first := queuetest.Messages(t, box, orders)[0]
	is.Equal(first.Headers["tenant"], "a")
	is.Equal(first.Headers[queue.HeaderCorrelationID], "c")
	_, err = orders.Publish(t.Context(), tx, nil)
	is.True(errors.Is(err, pgx.ErrTxClosed))
}

func TestBox_RollbackPublishesNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	box.Deliver(orders.Handle(func(context.Context, *queue.Delivery) error {
		t.Error("it was delivered")
		return nil
	}))
	refused := errors.New("no")
	err := pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
		_, err := orders.Publish(t.Context(), tx, []byte("1"))
		return errors.Join(err, refused)
	})
	is.True(errors.Is(err, refused))
	is.Equal(len(queuetest.Published(t, box, orders)), 0)
}

func TestBox_SavepointsNest(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	ctx := t.Context()
	put := func(tx pgx.Tx, payload string) error {
		_, err := orders.Publish(ctx, tx, []byte(payload))
		return err
	}
	is.NoErr(pgx.BeginFunc(ctx, box, func(tx pgx.Tx) error {
		is.NoErr(put(tx, "kept"))
		is.True(pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error {
			is.NoErr(put(sub, "dropped"))
			is.NoErr(pgx.BeginFunc(ctx, sub, func(deep pgx.Tx) error { return put(deep, "dropped too") }))
			return errors.New("no")
		}) != nil)
		return pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error { return put(sub, "kept too") })
	}))
	is.Equal(texts(queuetest.Messages(t, box, orders)), []string{"kept", "kept too"})
}

func TestBox_ChecksAsPostgreSQLDoes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	tx, err := box.Begin(t.Context())
	is.NoErr(err)
	_, err = orders.MaxBytes(3).Publish(t.Context(), tx, []byte("four"))
	is.True(errors.Is(err, queue.ErrTooLarge))
	_, err = orders.Publish(t.Context(), tx, nil, queue.Headers(map[string]string{"correlation_id": "x"}))
	is.True(errors.Is(err, queue.ErrInvalidHeader))
	_, err = orders.Publish(t.Context(), tx, nil, queue.Delay(-1))
	is.True(errors.Is(err, queue.ErrInvalidDelay))
	_, err = queue.New("").Publish(t.Context(), tx, nil)
	is.True(errors.Is(err, queue.ErrInvalidName))
	is.Equal(len(queuetest.Messages(t, tx, orders)), 0)
}

func TestBox_AutocommitCommitsByItself(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var j journal
	box.Deliver(orders.Handle(j.handle))
	_, err := orders.Publish(t.Context(), queue.Autocommit(box), []byte("1"))
	is.NoErr(err)
	is.Equal(j.take(), []string{"orders 1"})
}

func TestDeliver_AtOnceInOrder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var j journal
	publish(t, box, orders, "was there")
	box.Deliver(orders.Handle(j.handle), mails.Handle(j.handle))
	box.Deliver(parcels.Handle(j.handle))
	is.Equal(j.take(), []string{"orders was there"})

	is.NoErr(pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
		_, err := queue.Publish(t.Context(), tx, mails.Draft([]byte("1")), orders.Draft([]byte("2")), mails.Draft([]byte("3")), orders.Draft([]byte("4")))
		is.Equal(len(j.take()), 0) // not before the commit
		return err
	}))
	is.Equal(j.take(), []string{"mails 1", "orders 2", "mails 3", "orders 4"})
	publish(t, box, parcels, "5")
	is.Equal(j.take(), []string{"parcels 5"})
	is.Equal(texts(queuetest.Published(t, box, mails)), []string{"1", "3"}) // handled since
	is.Equal(len(queuetest.Messages(t, box, mails)), 0)
}

func TestDeliver_WhatHandlersPublishComesToo(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var j journal
	box.Deliver(
		orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_, err := mails.Publish(ctx, tx, append([]byte("mail of "), d.Payload...))
			is.Equal(tx.Commit(ctx), queue.ErrTxOwned)
			j.add("order %s", d.Payload)
			return err
		}),
		mails.Handle(func(ctx context.Context, d *queue.Delivery) error {
			j.add("%s, story %s", d.Payload, d.CorrelationID())
			return nil
		}),
	)
	publish(t, box, orders, "1", queue.CorrelationID("c-1"))
	is.Equal(j.take(), []string{"order 1", "mail of 1, story c-1"})
}

func TestDeliver_AFailureIsTriedAgainWhenTheClockMoves(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	began := box.Now()
	var j journal
	box.Deliver(orders.Handle(func(_ context.Context, d *queue.Delivery) error {
		j.add("attempt %d after %v", d.Attempt, box.Now().Sub(began))
		if d.Attempt < 5 {
			return errors.New("not yet")
		}
		return nil
	}, queue.Retry(retry.Exponential{First: time.Hour, MaxDelay: 100 * time.Hour, MaxAttempts: 10})))

	publish(t, box, orders, "1")
	is.Equal(j.take(), []string{"attempt 1 after 0s"})
	waiting := queuetest.Scheduled(t, box, orders)
	is.Equal(waiting[0].Attempts, int64(1))
	box.Advance(time.Hour - time.Microsecond)
	is.Equal(len(j.take()), 0)
	box.Advance(time.Microsecond)
	is.Equal(j.take(), []string{"attempt 2 after 1h0m0s"})
	box.Advance(48 * time.Hour) // each at its time
	is.Equal(j.take(), []string{"attempt 3 after 3h0m0s", "attempt 4 after 7h0m0s", "attempt 5 after 15h0m0s"})
	is.Equal(box.Now().Sub(began), 49*time.Hour)
	is.Equal(len(queuetest.Messages(t, box, orders)), 0)
}

func TestDeliver_DecisionsAreTheWorkers(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for _, tt := range []struct {
		name    string
		handler queue.Handler
		opts    []queue.SubscribeOption
		left    int    // messages
		reason  string // of the dead letter, "" for none
		says    string
	}{
		{"acknowledged", func(context.Context, *queue.Delivery) error { return nil }, nil, 0, "", ""},
		{"permanent", func(context.Context, *queue.Delivery) error { return queue.Permanent(boom) }, nil, 0, queue.ReasonRetryTerminal, "boom"},
		{"undecodable", func(context.Context, *queue.Delivery) error { return queue.Undecodable(boom) }, nil, 0, queue.ReasonDecodeError, "boom"},
		{"discarded", func(context.Context, *queue.Delivery) error { return queue.Discard("a test") }, nil, 0, "", ""},
		{"snoozed", func(context.Context, *queue.Delivery) error { return queue.Snooze(time.Hour) }, nil, 1, "", ""},
		{"a panic", func(context.Context, *queue.Delivery) error { panic("boom") }, nil, 1, "", ""},
		{"never again", func(context.Context, *queue.Delivery) error { return boom }, []queue.SubscribeOption{queue.Retry(retry.Never{})}, 0, queue.ReasonRetryTerminal, "boom"},
		{"by hand: ack", func(_ context.Context, d *queue.Delivery) error { return d.Ack() }, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}, 0, "", ""},
		{"by hand: nack", func(_ context.Context, d *queue.Delivery) error { return d.Nack(time.Hour) }, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}, 1, "", ""},
		{"by hand: reject", func(_ context.Context, d *queue.Delivery) error { return d.Reject("boom") }, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}, 0, queue.ReasonRejected, "boom"},
		{"by hand: forgotten", func(context.Context, *queue.Delivery) error { return nil }, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}, 1, "", ""},
		{"an error of a middleware", func(context.Context, *queue.Delivery) error { return nil }, []queue.SubscribeOption{queue.Use(func(queue.Handler) queue.Handler {
			return func(context.Context, *queue.Delivery) error { return queue.Permanent(boom) }
		})}, 0, queue.ReasonRetryTerminal, "boom"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			box := queuetest.New(t)
			box.Deliver(orders.Handle(tt.handler, tt.opts...))
			id := publish(t, box, orders, "1", queue.Headers(map[string]string{"tenant": "a"})) // which does not fail
			is.Equal(len(queuetest.Messages(t, box, orders)), tt.left)
			is.Equal(len(queuetest.Pending(t, box, orders)), 0)
			dead := queuetest.DeadLetters(t, box, orders)
			if tt.reason == "" {
				is.Equal(len(dead), 0)
				return
			}
			is.Equal(len(dead), 1)
			is.Equal(dead[0].OriginalID, id)
			is.Equal(dead[0].Reason, tt.reason)
			is.Equal(dead[0].Error, tt.says)
			is.Equal(dead[0].Headers["tenant"], "a")
		})
	}
}

func TestDeliver_Batches(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var j journal
	box.Deliver(
		orders.HandleBatch(func(_ context.Context, batch []*queue.Delivery) []error {
			outcomes := make([]error, len(batch))
			for i, d := range batch {
				if string(d.Payload) == "bad" {
					outcomes[i] = queue.Permanent(errors.New("bad"))
				}
			}
			j.add("%d orders", len(batch))
			return outcomes
		}, queue.BatchSize(3)),
		mails.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, batch []*queue.Delivery) []error {
			outcomes := make([]error, len(batch))
			for i, d := range batch {
				if _, err := parcels.Publish(ctx, tx, d.Payload); err != nil {
					t.Error(err)
				}
				if string(d.Payload) == "bad" {
					outcomes[i] = queue.Permanent(errors.New("bad"))
				}
			}
			j.add("%d mails", len(batch))
			return outcomes
		}),
	)
	is.NoErr(pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
		for _, p := range []string{"1", "bad", "3", "4"} {
			if _, err := queue.Publish(t.Context(), tx, orders.Draft([]byte(p)), mails.Draft([]byte(p))); err != nil {
				return err
			}
		}
		return nil
	}))
	is.Equal(j.take(), []string{"3 orders", "4 mails", "3 mails", "1 orders"}) // the mails again, without the bad one
	is.Equal(texts(queuetest.Messages(t, box, parcels)), []string{"1", "3", "4"})
	for _, q := range []queue.Queue{orders, mails} {
		is.Equal(len(queuetest.Messages(t, box, q)), 0)
		dead := queuetest.DeadLetters(t, box, q)
		is.Equal(len(dead), 1)
		is.Equal(string(dead[0].Payload), "bad")
		is.Equal(dead[0].Deliveries, int64(1))
	}
}

func TestDeliver_AHandlersTransactionIsOneWithTheMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	fail := true
	box.Deliver(orders.HandleTx(func(ctx context.Context, tx pgx.Tx, _ *queue.Delivery) error {
		_, err := mails.Publish(ctx, tx, []byte("mail"))
		is.NoErr(err)
		if fail {
			return errors.New("not yet")
		}
		return nil
	}))
	publish(t, box, orders, "1")
	is.Equal(len(queuetest.Published(t, box, mails)), 0)
	is.Equal(queuetest.Messages(t, box, orders)[0].Attempts, int64(1))
	fail = false
	box.Advance(time.Minute)
	is.Equal(len(queuetest.Published(t, box, mails)), 1)
	is.Equal(len(queuetest.Messages(t, box, orders)), 0)
}

func TestDeliver_FromManyGoroutines(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var j journal
	box.Deliver(
		orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_, err := mails.Publish(ctx, tx, d.Payload)
			return err
		}),
		mails.HandleBatch(func(_ context.Context, batch []*queue.Delivery) []error {
			for range batch {
				j.add("mail")
			}
			return make([]error, len(batch))
		}),
	)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				err := pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
					_, err := queue.Publish(t.Context(), tx, orders.Draft(nil), orders.Draft(nil))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	is.Equal(len(j.take()), 800) // when all have returned, all is delivered
	is.Equal(len(queuetest.Messages(t, box, orders)), 0)
	is.Equal(len(queuetest.Messages(t, box, mails)), 0)
}

func TestBox_DeliversNothingOfAPausedQueue(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var got journal
	box.Deliver(orders.Handle(got.handle), mails.Handle(got.handle))

	tx, err := box.Begin(t.Context())
	is.NoErr(err)
	_, err = orders.Pause(t.Context(), tx)
	is.NoErr(err)
	is.NoErr(tx.Rollback(t.Context())) // and with it the pause
	publish(t, box, orders, "1")
	is.Equal(got.take(), []string{"orders 1"})

	changed, err := orders.Pause(t.Context(), queue.Autocommit(box))
	is.NoErr(err)
	is.True(changed)
	publish(t, box, orders, "2")
	publish(t, box, mails, "3")
	box.Advance(time.Hour)
	is.Equal(got.take(), []string{"mails 3"})
	paused, err := queue.Outbox{}.Paused(t.Context(), box)
	is.NoErr(err)
	is.Equal(len(paused), 1)

	changed, err = orders.Resume(t.Context(), queue.Autocommit(box))
	is.NoErr(err)
	is.True(changed)
	is.Equal(got.take(), []string{"orders 2"})
}
