package queue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

func TestObserver_SeesWhatBecomesOfMessages(t *testing.T) {
	t.Parallel()
	q := queue.New("orders")
	fast := queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 3})
	forms := map[string]queue.Subscription{
		"each":     q.Handle(func(_ context.Context, d *queue.Delivery) error { return judge(d) }, fast),
		"tx":       q.HandleTx(func(_ context.Context, _ pgx.Tx, d *queue.Delivery) error { return judge(d) }, fast),
		"batch":    q.HandleBatch(func(_ context.Context, b []*queue.Delivery) []error { return judgeAll(b) }, fast),
		"batch tx": q.HandleBatchTx(func(_ context.Context, _ pgx.Tx, b []*queue.Delivery) []error { return judgeAll(b) }, fast),
	}
	for _, form := range slices.Sorted(maps.Keys(forms)) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := observedDB(t)
			var drafts []queue.Draft
			for _, p := range []string{"is fine", "is fine, too", "fails once", "fails for good", "is no text", "comes later", "is not wanted"} {
				drafts = append(drafts, q.Draft([]byte(p)))
			}
			ids, err := queue.Publish(t.Context(), queue.Autocommit(db.Pool), drafts...)
			is.NoErr(err)
			_, err = db.Pool.Exec(t.Context(), "UPDATE outbox SET next_attempt_at = now() - interval '1 minute'")
			is.NoErr(err)

			b := newBook()
			stop := observedWorker(t, db.Pool, forms[form], queue.Observe(b.observer()))
			want := map[string]int{
				`"outbox" orders acked`:                   3,
				`"outbox" orders retried`:                 1,
				`"outbox" orders terminal retry_terminal`: 1,
				`"outbox" orders terminal decode_error`:   1,
				`"outbox" orders snoozed`:                 1,
				`"outbox" orders discarded`:               1,
			}
			b.await(t, "the outcomes", func() bool { return maps.Equal(b.outcomes, want) })
			b.await(t, "the dead letters", func() bool { return len(b.deadLetters) == 2 })
			b.await(t, "an empty claim", func() bool { return b.empty > 0 })
			b.await(t, "listening", func() bool { return len(b.listening) > 0 })
			is.NoErr(stop())
			is.Equal(len(b.ids), len(ids))
			is.True(b.longest >= time.Minute)
			is.Equal(b.fetched, b.dispatched)
			is.Equal(b.fetched, 8)
			reasons := []string{b.deadLetters[0].Reason, b.deadLetters[1].Reason}
			slices.Sort(reasons)
			is.Equal(reasons, []string{queue.ReasonDecodeError, queue.ReasonRetryTerminal})
			settled := map[string]int{"each": 6, "batch": 6, "tx": 3, "batch tx": 0}
			is.Equal(b.settled, settled[form]) // what no transaction settles, and no dead letter
			is.Equal(b.listening, []queue.Listening{{Outbox: `"outbox"`, Up: true}, {Outbox: `"outbox"`}, {Outbox: `"outbox"`, Ended: true}})
			is.True(b.polled > 0)
		})
	}
}

func TestObserver_SeesDeadLettersThatAreOff(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db, q, b := observedDB(t), queue.New("orders"), newBook()
	_, err := q.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("fails for good"))
	is.NoErr(err)
	stop := observedWorker(t, db.Pool, queue.DeadLetters(false), queue.Observe(b.observer()),
		q.Handle(func(_ context.Context, d *queue.Delivery) error { return judge(d) }))
	b.await(t, "the outcome", func() bool { return b.outcomes[`"outbox" orders terminal retry_terminal`] == 1 })
	is.NoErr(stop())
	is.Equal(len(b.deadLetters), 0)
}

func TestObserver_SeesDeadLettersThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	q := queue.New("orders")
	for name, tt := range map[string]struct {
		sub  queue.Subscription
		want string // what is decided: a transaction decides anew
	}{
		"each": {
			q.Handle(func(_ context.Context, d *queue.Delivery) error { return judge(d) }),
			`"outbox" orders terminal retry_terminal`,
		},
		"batch tx": {
			q.HandleBatchTx(func(_ context.Context, _ pgx.Tx, b []*queue.Delivery) []error { return judgeAll(b) }),
			`"outbox" orders released`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db, b := observedDB(t), newBook()
			_, err := db.Pool.Exec(t.Context(), "DROP TABLE outbox_dlq")
			is.NoErr(err)
			_, err = q.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("fails for good"))
			is.NoErr(err)
			stop := observedWorker(t, db.Pool, queue.Observe(b.observer()), tt.sub)
			b.await(t, "the dead letter", func() bool { return len(b.deadLetters) > 0 })
			b.await(t, "the outcome", func() bool { return b.outcomes[tt.want] == 1 })
			is.NoErr(stop())
			is.True(errors.Is(b.deadLetters[0].Err, queue.ErrNoTable))
			is.Equal(b.deadLetters[0].Reason, queue.ReasonRetryTerminal)
			is.Equal(b.deadLetters[0].Messages, 1)
		})
	}
}

func TestObserver_SeesALostLeaseAndADrainThatTimesOut(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db, q, b := observedDB(t), queue.New("orders"), newBook()
	id, err := q.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("1"))
	is.NoErr(err)
	begun := make(chan struct{}, 2)
	stop := observedWorker(t, db.Pool, queue.Observe(b.observer()), queue.Lease(300*time.Millisecond), queue.Grace(0),
		q.Handle(func(ctx context.Context, _ *queue.Delivery) error {
			begun <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}))
	<-begun
	_, err = db.Pool.Exec(t.Context(), "UPDATE outbox SET acquired_token = $1, acquired_at = now() + interval '1 hour'", [16]byte(uuid.New()))
	is.NoErr(err)
	b.await(t, "the lost lease", func() bool { return len(b.lost) == 1 })
	b.await(t, "the end of its handler", func() bool { return b.outcomes[`"outbox" orders released`] == 1 })
	is.Equal(b.lost[0], queue.LeaseLost{Outbox: `"outbox"`, Queue: "orders", ID: id})

	_, err = q.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("2"))
	is.NoErr(err)
	<-begun
	is.NoErr(stop())
	is.Equal(b.drains, []queue.DrainTimedOut{{Outbox: `"outbox"`, Cancelled: 1}})
	is.Equal(b.outcomes[`"outbox" orders released`], 2) // the lost one's is not written
}

func TestObserver_ThatPanicsOrBlocksHarmsNothing(t *testing.T) {
	t.Parallel()
	const messages = 5000 // more events than the buffer has room for
	never := make(chan struct{})
	defer close(never)
	for name, f := range map[string]func(){
		"panics": func() { panic("an observer's own affair") },
		"blocks": func() { <-never },
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			db, q := observedDB(t), queue.New("orders")
			drafts := make([]queue.Draft, messages)
			for i := range drafts {
				drafts[i] = q.Draft([]byte("payload"))
			}
			_, err := queue.Publish(t.Context(), queue.Autocommit(db.Pool), drafts...)
			is.NoErr(err)
			var log backgroundLog
			good := newBook() // beside the bad one
			stop := observedWorker(t, db.Pool,
				queue.Logger(slog.New(slog.NewTextHandler(&log, nil))),
				queue.Observe(queue.Observer{
					Fetched:    func(queue.Fetched) { f() },
					Dispatched: func(queue.Dispatched) { f() },
					Handled:    func(queue.Handled) { f() },
					Settled:    func(queue.Settled) { f() },
					Listening:  func(queue.Listening) { f() },
				}),
				queue.Observe(good.observer()),
				q.Handle(func(context.Context, *queue.Delivery) error { return nil }))
			await(t, "the last message", ticks(t), func() bool {
				var left int
				is.NoErr(db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox").Scan(&left))
				return left == 0
			})
			began := time.Now()
			is.NoErr(stop())
			is.True(time.Since(began) < 10*time.Second)
			is.True(good.outcomes[`"outbox" orders acked`] > 0)
			switch name {
			case "panics":
				is.Equal(bytes.Count(log.text.Bytes(), []byte("an observer panicked")), 5) // once for each function
			case "blocks":
				is.True(log.says("an observer is too slow"))
				is.True(log.says("left behind"))
			}
		})
	}
}
