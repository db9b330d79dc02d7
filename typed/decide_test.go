package typed_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
)

// fate is what became of a message: gone, waiting, or a dead letter.
type fate struct {
	Waiting  bool
	Attempts int64
	Wait     time.Duration // from the handler's end to the next attempt, whole seconds
	Tried    bool          // first and last attempt are set
	Reason   string        // of the dead letter
	Error    string        // its first line
}

func fateOf(t *testing.T, pool *pgxpool.Pool, id int64) fate {
	t.Helper()
	var (
		f    fate
		wait int64
	)
	err := pool.QueryRow(t.Context(), `SELECT true, attempts_count,
		(SELECT count(*) FROM (VALUES (first_attempt_at), (last_attempt_at)) AS v(at) WHERE at IS NOT NULL) = 2,
		round(extract(epoch FROM next_attempt_at - COALESCE(last_attempt_at, now())))::int FROM outbox WHERE id = $1`, id).
		Scan(&f.Waiting, &f.Attempts, &f.Tried, &wait)
	if err == nil {
		f.Wait = time.Duration(wait) * time.Second
		return f
	}
	var text *string
	err = pool.QueryRow(t.Context(), `SELECT failure_reason, last_exception FROM outbox_dlq WHERE original_id = $1`, id).Scan(&f.Reason, &text)
	if errors.Is(err, pgx.ErrNoRows) {
		return fate{}
	}
	if err != nil {
		t.Fatal(err)
	}
	if text != nil {
		f.Error, _, _ = strings.Cut(*text, "\n")
	}
	return f
}

// settled waits until no worker holds the message.
func settled(t *testing.T, pool *pgxpool.Pool, id int64) {
	t.Helper()
	eventually(t, pool, 0, `SELECT count(*)::int FROM outbox WHERE id = $1 AND (acquired_token IS NOT NULL OR deliveries_count + attempts_count = 0 AND next_attempt_at <= now())`, id)
}

var errBroken = errors.New("broken")

func TestHandler_WhatItSaysDecides(t *testing.T) {
	t.Parallel()
	type handler = func(ctx context.Context, m *typed.Message[order]) error
	never := queue.Retry(retry.Never{})
	in := func(d time.Duration) queue.SubscribeOption { return queue.Retry(retry.Constant{Delay: d}) }
	returns := func(err error) handler { return func(context.Context, *typed.Message[order]) error { return err } }

	tests := []struct {
		name string
		do   handler
		opts []queue.SubscribeOption
		want fate
	}{
		{"nil", returns(nil), nil, fate{}},
		{"error, to be retried", returns(errBroken), []queue.SubscribeOption{in(time.Hour)}, fate{Waiting: true, Attempts: 1, Wait: time.Hour, Tried: true}},
		{"error, no retry", returns(errBroken), []queue.SubscribeOption{never}, fate{Reason: "retry_terminal", Error: "broken"}},
		{"error, one attempt", returns(errBroken), []queue.SubscribeOption{queue.Retry(retry.Constant{MaxAttempts: 1})}, fate{Reason: "retry_terminal", Error: "broken"}},
		{"permanent", returns(queue.Permanent(errBroken)), []queue.SubscribeOption{in(time.Hour)}, fate{Reason: "retry_terminal", Error: "broken"}},
		{"permanent, wrapped", returns(fmt.Errorf("pay: %w", queue.Permanent(errBroken))), nil, fate{Reason: "retry_terminal", Error: "pay: broken"}},
		{"permanent nil", returns(queue.Permanent(nil)), nil, fate{}},
		{"retry after", returns(queue.RetryAfter(errBroken, 2*time.Hour)), nil, fate{Waiting: true, Attempts: 1, Wait: 2 * time.Hour, Tried: true}},
		{"retry after, too often", returns(queue.RetryAfter(errBroken, time.Hour)), []queue.SubscribeOption{never}, fate{Reason: "retry_terminal", Error: "broken"}},
		{"retry after an absurd time", returns(queue.RetryAfter(errBroken, 1<<63-1)), nil, fate{Waiting: true, Attempts: 1, Wait: queue.MaxDelay, Tried: true}},
		{"snooze", returns(queue.Snooze(time.Hour)), nil, fate{Waiting: true, Wait: time.Hour}},
		{"snooze, even where errors are rejected", returns(queue.Snooze(time.Hour)), []queue.SubscribeOption{queue.Acknowledge(queue.RejectOnError)}, fate{Waiting: true, Wait: time.Hour}},
		{"discard", returns(queue.Discard("stale")), nil, fate{}},
		{"undecodable", returns(queue.Undecodable(errBroken)), nil, fate{Reason: "decode_error", Error: "broken"}},
		{"panic", func(context.Context, *typed.Message[order]) error { panic("oh") }, []queue.SubscribeOption{never}, fate{Reason: "retry_terminal", Error: "panic: oh"}},
		{"panic with an error", func(context.Context, *typed.Message[order]) error { panic(errBroken) },
			[]queue.SubscribeOption{queue.Retry(retry.ByError(retry.Constant{Delay: time.Hour}, retry.Is(errBroken, retry.Never{})))}, fate{Reason: "retry_terminal", Error: "panic: broken"}},
		{"error that panics when it is asked what it wraps", returns((*fs.PathError)(nil)), []queue.SubscribeOption{never},
			fate{Reason: "retry_terminal", Error: "panic: runtime error: invalid memory address or nil pointer dereference"}},
		{"panic with such an error", func(context.Context, *typed.Message[order]) error { panic((*fs.PathError)(nil)) }, []queue.SubscribeOption{never},
			fate{Reason: "retry_terminal", Error: "panic: runtime error: invalid memory address or nil pointer dereference"}},
		{"reject on error", returns(errBroken), []queue.SubscribeOption{queue.Acknowledge(queue.RejectOnError)}, fate{Reason: "rejected", Error: "broken"}},

		{"ack, then an error", func(_ context.Context, m *typed.Message[order]) error { return errors.Join(m.Ack(), errBroken) }, nil, fate{}},
		{"nack after", func(_ context.Context, m *typed.Message[order]) error { return m.Nack(3 * time.Hour) }, nil, fate{Waiting: true, Attempts: 1, Wait: 3 * time.Hour, Tried: true}},
		{"nack by policy", func(_ context.Context, m *typed.Message[order]) error { return m.Nack(-1) }, []queue.SubscribeOption{in(time.Hour)}, fate{Waiting: true, Attempts: 1, Wait: time.Hour, Tried: true}},
		{"nack, no retry", func(_ context.Context, m *typed.Message[order]) error { return m.Nack(0) }, []queue.SubscribeOption{never}, fate{Reason: "retry_terminal", Error: "nack"}},
		{"reject", func(_ context.Context, m *typed.Message[order]) error { return m.Reject("no such customer") }, nil, fate{Reason: "rejected", Error: "no such customer"}},
		{"first verdict holds", func(_ context.Context, m *typed.Message[order]) error {
			if err := m.Reject("first"); err != nil {
				return err
			}
			if err := m.Ack(); !errors.Is(err, queue.ErrSettled) {
				panic(err)
			}
			return nil
		}, nil, fate{Reason: "rejected", Error: "first"}},
		{"manual, acked", func(_ context.Context, m *typed.Message[order]) error { return m.Ack() }, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}, fate{}},
		{"manual, forgotten", returns(nil), []queue.SubscribeOption{queue.Acknowledge(queue.Manual), never}, fate{Reason: "retry_terminal", Error: queue.ErrNotSettled.Error()}},
		{"manual, forgotten, retried", returns(nil), []queue.SubscribeOption{queue.Acknowledge(queue.Manual), in(time.Hour)}, fate{Waiting: true, Attempts: 1, Wait: time.Hour, Tried: true}},

		{"policy that panics", returns(errBroken), []queue.SubscribeOption{queue.Retry(retry.Func(func(retry.Failure) retry.Decision { panic("oh") }))}, fate{Waiting: true, Attempts: 1, Wait: time.Second, Tried: true}},
		{"policy that decides nothing", returns(errBroken), []queue.SubscribeOption{queue.Retry(retry.Func(func(retry.Failure) retry.Decision { return retry.Decision{} }))}, fate{Waiting: true, Attempts: 1, Wait: time.Second, Tried: true}},
		{"policy that goes back in time", returns(errBroken), []queue.SubscribeOption{queue.Retry(retry.Func(func(retry.Failure) retry.Decision { return retry.After(-time.Hour) }))}, fate{Waiting: true, Attempts: 1, Wait: time.Second, Tried: true}},

		{"dead letters off", returns(queue.Permanent(errBroken)), []queue.SubscribeOption{queue.DeadLetters(false)}, fate{}},
		{"error text dropped", returns(queue.Permanent(errBroken)), []queue.SubscribeOption{queue.ErrorText(func(error) string { return "" })}, fate{Reason: "retry_terminal"}},
		{"renderer that panics", returns(queue.Permanent(errBroken)), []queue.SubscribeOption{queue.ErrorText(func(error) string { panic("oh") })}, fate{Reason: "retry_terminal", Error: "(the error could not be rendered)"}},
		{"timeout", func(ctx context.Context, _ *typed.Message[order]) error { <-ctx.Done(); return ctx.Err() }, []queue.SubscribeOption{queue.Timeout(time.Millisecond), never}, fate{Reason: "retry_terminal", Error: "context deadline exceeded"}},
	}
	db := newDB(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			q := typed.NewQueue[order](fmt.Sprint("q", i))
			var id int64
			commit(t, db.Pool, func(tx pgx.Tx) (err error) {
				id, err = q.Publish(t.Context(), tx, order{ID: 1})
				return err
			})
			start(t, db.Pool, q.HandleMessage(tt.do, tt.opts...))
			settled(t, db.Pool, id)
			is.Equal(fateOf(t, db.Pool, id), tt.want)
		})
	}
}

// buriesOne has a handler of orders get the orders 0, 1 and 2, of which one fails for good
// with an error like this.
func buriesOne(t *testing.T, form queue.Subscription, like string) {
	t.Helper()
	db := newDB(t)
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.PublishBatch(t.Context(), tx, []order{{ID: 0}, {ID: 1}, {ID: 2}})
		return err
	})
	start(t, db.Pool, form)
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE last_exception LIKE $1", like)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

// An error's own methods run where they can harm nobody but its message.
func TestHandler_ErrorsThatPanicFailTheirMessageAlone(t *testing.T) {
	t.Parallel()
	says := func(o order) error {
		if o.ID == 1 {
			return (*fs.PathError)(nil)
		}
		return nil
	}
	each := func(ms []*typed.Message[order]) []error {
		errs := make([]error, len(ms))
		for i, m := range ms {
			errs[i] = says(m.Value)
		}
		return errs
	}
	never := queue.Retry(retry.Never{})
	for name, form := range map[string]queue.Subscription{
		"Handle":      orders.Handle(func(_ context.Context, o order) error { return says(o) }, never),
		"HandleTx":    orders.HandleTx(func(_ context.Context, _ pgx.Tx, o order) error { return says(o) }, never),
		"HandleBatch": orders.HandleBatch(func(_ context.Context, ms []*typed.Message[order]) []error { return each(ms) }, never),
		"HandleBatchTx": orders.HandleBatchTx(func(_ context.Context, _ pgx.Tx, ms []*typed.Message[order]) []error {
			return each(ms)
		}, never),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buriesOne(t, form, "panic: %")
		})
	}
}

func TestDeadLetter_KeepsTheMessageAndTheErrorIntact(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	q := typed.NewQueue[order]("orders")
	start(t, db.Pool, q.Handle(func(context.Context, order) error {
		return queue.Permanent(errors.New("x" + strings.Repeat("é", 8<<10) + "\xff\x00"))
	}))
	var id int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		id, err = q.Publish(t.Context(), tx, order{ID: 7}, queue.CorrelationID("c-7"))
		return err
	})
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq")
	var (
		original, deliveries int64
		payload, name, text  string
		headers              map[string]string
		age                  time.Duration
	)
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT original_id, queue, convert_from(payload, 'UTF8'), headers, deliveries_count,
		last_exception, failed_at - created_at FROM outbox_dlq`).Scan(&original, &name, &payload, &headers, &deliveries, &text, &age))
	is.Equal(original, id)
	is.Equal(name, "orders")
	is.Equal(payload, `{"id":7}`)
	is.Equal(headers["correlation_id"], "c-7")
	is.Equal(deliveries, int64(1))
	is.True(age >= 0)
	is.True(len(text) <= 8<<10 && len(text) > 8<<10-4)
	is.True(utf8.ValidString(text)) // cut on a character boundary
	is.Equal(rows(t, db.Pool, "outbox"), 0)
}

func TestHandler_UndecodablePayloadsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(i*7919 + i>>8)
	}
	tests := []struct {
		name, headers string
		payload       []byte
	}{
		{"wrong type", `{"content-type": "application/json"}`, []byte(`"a string"`)},
		{"truncated", `{"content-type": "application/json"}`, []byte(`{"id": 1`)},
		{"unknown content type", `{"content-type": "application/x-protobuf"}`, []byte(`{"id": 1}`)},
		{"a mebibyte of noise", `{"content-type": "application/msgpack"}`, random},
		{"content type that is a number", `{"content-type": 5}`, []byte(`{"id": 1}`)},
		{"noise and null headers", `null`, random[:1000]},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			q := typed.NewQueue[order](fmt.Sprint("q", i))
			var id int64
			is.NoErr(db.Pool.QueryRow(t.Context(), `INSERT INTO outbox (queue, payload, headers) VALUES ($1, $2, $3) RETURNING id`,
				q.Name(), tt.payload, tt.headers).Scan(&id))
			start(t, db.Pool, q.Handle(func(context.Context, order) error {
				t.Error("the handler was called")
				return nil
			}))
			eventually(t, db.Pool, true, `SELECT EXISTS (SELECT FROM outbox_dlq WHERE original_id = $1 AND failure_reason = 'decode_error'
				AND payload = $2 AND last_exception <> '' AND headers IS NOT DISTINCT FROM $3::jsonb)`, id, tt.payload, tt.headers)
		})
	}
}

func TestHandler_ReadsStrangeHeaders(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for i, tt := range []struct {
		headers any
		want    map[string]string
	}{
		{nil, nil},
		{`null`, nil},
		{`[1, 2]`, nil},
		{`"text"`, nil},
		{`{}`, map[string]string{}},
		{`{"n": 5, "o": {"a": [1]}, "b": true, "s": "x\u00fc\"", "correlation_id": "c"}`,
			map[string]string{"n": "5", "o": `{"a": [1]}`, "b": "true", "s": "xü\"", "correlation_id": "c"}},
	} {
		t.Run(fmt.Sprint(tt.headers), func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			q := typed.NewQueue[int](fmt.Sprint("q", i))
			got := make(chan map[string]string, 1)
			_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, headers) VALUES ($1, '1', $2)`, q.Name(), tt.headers)
			is.NoErr(err)
			start(t, db.Pool, q.HandleMessage(func(_ context.Context, m *typed.Message[int]) error {
				is.Equal(m.CorrelationID(), tt.want["correlation_id"])
				got <- m.Headers()
				return nil
			}))
			is.Equal(next(t, got), tt.want)
		})
	}
}

func TestHandler_WhatItSaysHoldsDuringShutdown(t *testing.T) {
	t.Parallel()
	errOops := errors.New("oops")
	tests := []struct {
		name string
		says error
		// What is left: rows that are due at once, rows that are put off, dead letters.
		due, off, dead int
		opts           []queue.SubscribeOption
	}{
		{"Discard", queue.Discard("no longer wanted"), 0, 0, 0, nil},
		{"Snooze", queue.Snooze(time.Hour), 0, 1, 0, nil},
		{"Undecodable", queue.Undecodable(errOops), 0, 0, 1, nil},
		{"Nil", nil, 0, 0, 0, nil},
		{"Nil, where handlers acknowledge", nil, 1, 0, 0, []queue.SubscribeOption{queue.Acknowledge(queue.Manual)}},
		{"Error", errOops, 1, 0, 0, nil},
		{"Permanent", queue.Permanent(errOops), 1, 0, 0, nil}, // its error may be the cancelled context's
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			orders := typed.NewQueue[order]("orders")
			running := make(chan struct{})
			stop := start(t, db.Pool, queue.Grace(0), orders.Handle(func(ctx context.Context, _ order) error {
				close(running)
				<-ctx.Done()
				return test.says
			}, test.opts...))
			commit(t, db.Pool, func(tx pgx.Tx) error {
				_, err := orders.Publish(t.Context(), tx, order{ID: 1})
				return err
			})
			next(t, running)
			is.NoErr(stop())

			var due, off, attempts, dead int
			is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT
				count(*) FILTER (WHERE next_attempt_at <= now()), count(*) FILTER (WHERE next_attempt_at > now()),
				coalesce(sum(attempts_count), 0)::int, (SELECT count(*) FROM outbox_dlq) FROM outbox`).Scan(&due, &off, &attempts, &dead))
			is.Equal([]int{due, off, attempts, dead}, []int{test.due, test.off, 0, test.dead})
		})
	}
}

func TestMaxDeliveries_EndsAMessageThatKillsItsWorkers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	q := typed.NewQueue[order]("orders")
	var id int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		id, err = q.Publish(t.Context(), tx, order{ID: 1})
		return err
	})
	// As after three workers that died with it.
	_, err := db.Pool.Exec(t.Context(), `UPDATE outbox SET deliveries_count = 3, acquired_at = now() - interval '1 hour', acquired_token = gen_random_uuid()`)
	is.NoErr(err)
	start(t, db.Pool, q.Handle(func(context.Context, order) error {
		t.Error("the handler was called")
		return nil
	}, queue.MaxDeliveries(3)))
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq")
	f := fateOf(t, db.Pool, id)
	is.Equal(f.Reason, "max_deliveries")
	is.True(strings.Contains(f.Error, "claimed 4 times, the limit is 3"))
}

func TestRetry_SeesTheMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	q := typed.NewQueue[order]("orders")
	seen := make(chan retry.Failure, 10)
	start(t, db.Pool, q.Handle(func(context.Context, order) error { return errBroken },
		q.Retry(func(m *typed.Message[order], f retry.Failure) retry.Decision {
			seen <- f
			if m.Value.ID == 7 && m.Header("vip") == "yes" && f.Attempt < 3 {
				return retry.After(time.Millisecond)
			}
			return retry.GiveUp()
		})))
	var id int64
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		id, err = q.Publish(t.Context(), tx, order{ID: 7}, queue.Headers(map[string]string{"vip": "yes"}))
		return err
	})
	var elapsed time.Duration
	for attempt := int64(1); attempt <= 3; attempt++ {
		f := next(t, seen)
		is.Equal(f.ID, id)
		is.Equal(f.Attempt, attempt)
		is.True(errors.Is(f.Err, errBroken))
		is.True(f.Elapsed > elapsed) // since the first attempt
		elapsed = f.Elapsed
	}
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq WHERE failure_reason = 'retry_terminal'")
}

func TestMiddleware_Order(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	q := typed.NewQueue[order]("orders")
	said := make(chan string, 10)
	mw := func(name string) queue.Middleware {
		return func(next queue.Handler) queue.Handler {
			return func(ctx context.Context, d *queue.Delivery) error {
				said <- name + " before"
				err := next(ctx, d)
				said <- fmt.Sprint(name, " after ", err)
				return err
			}
		}
	}
	start(t, db.Pool, queue.Use(mw("worker")), q.Handle(func(context.Context, order) error {
		said <- "handler"
		return queue.Discard("x")
	}, queue.Use(mw("first"), mw("second"))))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := q.Publish(t.Context(), tx, order{})
		return err
	})
	for _, want := range []string{"worker before", "first before", "second before", "handler",
		"second after discard: x", "first after discard: x", "worker after discard: x"} {
		is.Equal(next(t, said), want)
	}
}

func TestPublish_CarriesTheStoryOn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	first, second, third := typed.NewQueue[order]("first"), typed.NewQueue[order]("second"), typed.NewQueue[order]("third")
	got := make(chan map[string]string, 2)
	start(t, db.Pool,
		first.HandleTx(func(ctx context.Context, tx pgx.Tx, o order) error {
			_, err := second.Publish(ctx, tx, o)
			if err == nil {
				_, err = second.Publish(ctx, tx, o, queue.CorrelationID("own"), queue.Headers(map[string]string{"traceparent": "own"}))
			}
			return err
		}),
		second.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, ms []*typed.Message[order]) []error {
			errs := make([]error, len(ms))
			for i, m := range ms {
				_, errs[i] = third.Publish(m.Context(ctx), tx, m.Value)
			}
			return errs
		}, queue.Concurrency(1)),
		third.HandleMessage(func(_ context.Context, m *typed.Message[order]) error {
			got <- m.Headers()
			return nil
		}, queue.Concurrency(1)))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := first.Publish(t.Context(), tx, order{ID: 1}, queue.CorrelationID("story"),
			queue.Headers(map[string]string{"traceparent": "00-a-b-01", "tracestate": "x=y", "tenant": "t"}))
		return err
	})
	is.Equal(next(t, got), map[string]string{"content-type": "application/json", "correlation_id": "story", "traceparent": "00-a-b-01", "tracestate": "x=y"})
	is.Equal(next(t, got), map[string]string{"content-type": "application/json", "correlation_id": "own", "traceparent": "own"})
}
