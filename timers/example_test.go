package timers_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// openOutbox gives an example a database with an empty outbox in it.
func openOutbox(ctx context.Context) (*pgxpool.Pool, func()) {
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		return nil, func() { fmt.Println(err) }
	}
	return pgtest.Open(ctx, sql)
}

// A timer is a message that comes at its time.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()
	alarms := queue.New("alarms")

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		res, err := timers.ScheduleAfter(ctx, tx, "tea", 100*time.Millisecond, alarms.Draft([]byte("it has drawn")))
		fmt.Println(res.Outcome)
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := queue.NewWorker(pool, queue.Logger(slog.New(slog.DiscardHandler)),
		alarms.Handle(func(_ context.Context, d *queue.Delivery) error {
			fmt.Printf("%s: %s\n", d.TimerID, d.Payload)
			stop()
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Run(ctx))
	// Output:
	// scheduled
	// tea: it has drawn
	// <nil>
}

// Throttled: however many calls there are, the first one says when.
func ExampleKeep() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()
	reports := queue.New("reports")

	var due []time.Time
	for i := range 3 {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			res, err := timers.RescheduleAfter(ctx, tx, "report", time.Hour, reports.Draft([]byte{byte(i)}), timers.Keep(timers.Earliest))
			due = append(due, res.DueAt)
			return err
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(due[0].Equal(due[1]), due[0].Equal(due[2]))
	live, _, err := timers.Of(reports).Get(ctx, pool, "report")
	fmt.Println(live.Payload, err)
	// Output:
	// true true
	// [2] <nil>
}

// Everything of a customer who leaves.
func ExampleTimers_CancelPrefix() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()
	q := queue.New("reminders")

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := timers.ScheduleBatch(ctx, tx,
			timers.Timer{ID: "customer-7/cart", After: time.Hour, Message: q.Draft(nil)},
			timers.Timer{ID: "customer-7/trial", After: 24 * time.Hour, Message: q.Draft(nil)},
			timers.Timer{ID: "customer-8/cart", After: time.Hour, Message: q.Draft(nil)})
		if err != nil {
			return err
		}
		n, err := timers.Of(q).CancelPrefix(ctx, tx, "customer-7/")
		fmt.Printf("%+v\n", n)
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	left, err := timers.Of(q).Count(ctx, pool, timers.Filter{})
	fmt.Println(left.Waiting, err)
	// Output:
	// {Cancelled:2 Running:0}
	// 1 <nil>
}

// What a cron expression means when clocks change: on the last Sunday of March,
// Berlin has no half past two.
func ExampleCron() {
	nightly := timers.Cron("30 2 * * *", "Europe/Berlin")
	at := time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC)
	for range 3 {
		at = nightly.Next(at)
		fmt.Println(at)
	}
	fmt.Println(timers.Cron("0 0 30 2 *", "").Err())
	// Output:
	// 2026-03-28 02:30:00 +0100 CET
	// 2026-03-29 03:00:00 +0200 CEST
	// 2026-03-30 02:30:00 +0200 CEST
	// invalid recurrence: cron "0 0 30 2 *": it never fires
}
