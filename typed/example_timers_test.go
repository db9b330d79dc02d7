package typed_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// Reminder is the value of a timer.
type Reminder struct{ Order int }

// Reminders is a queue of timers. Nothing sets it apart from other queues.
var Reminders = typed.NewQueue[Reminder]("orders.reminders")

// A second schedule of the same id changes nothing, and says what is there. What
// is no longer wanted is cancelled.
func ExampleQueue_Schedule() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		tomorrow := time.Now().Add(24 * time.Hour)
		res, err := Reminders.Schedule(ctx, tx, "order-1", tomorrow, Reminder{Order: 1})
		if err != nil {
			return err
		}
		fmt.Println(res.Outcome)

		res, err = Reminders.ScheduleAfter(ctx, tx, "order-1", time.Hour, Reminder{Order: 1})
		if err != nil {
			return err
		}
		fmt.Printf("%v, due as it was: %v\n", res.Outcome, res.Existing.DueAt.Equal(tomorrow.Truncate(time.Microsecond)))

		res, err = Reminders.Cancel(ctx, tx, "order-1")
		fmt.Println(res.Outcome)
		return err
	})
	fmt.Println(err)
	// Output:
	// scheduled
	// already there, due as it was: true
	// cancelled
	// <nil>
}

func ExampleQueue_ScheduleBatch() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		results, err := Reminders.ScheduleBatch(ctx, tx, []typed.Timer[Reminder]{
			{ID: "order-1", After: time.Hour, Value: Reminder{Order: 1}},
			{ID: "order-2", At: time.Now().Add(48 * time.Hour), Value: Reminder{Order: 2}},
			{ID: "order-1", After: time.Minute, Value: Reminder{Order: 1}},
		})
		for _, r := range results {
			fmt.Println(r.Outcome)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// scheduled
	// scheduled
	// repeated
	// <nil>
}

// Each event pushes the digest out by five minutes, but it comes after half an
// hour at the latest.
func ExampleQueue_Reschedule() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	for order := range 3 {
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			// ... what happened, on tx: the digest will see it ...
			res, err := Reminders.RescheduleAfter(ctx, tx, "digest of c-1", 5*time.Minute, Reminder{Order: order},
				timers.MaxWait(30*time.Minute))
			fmt.Println(res.Outcome)
			return err
		})
		if err != nil {
			fmt.Println(err)
		}
	}
	list, err := Reminders.Timers().List(ctx, pool, timers.Filter{}, timers.Page{})
	fmt.Println(len(list), "timer, with the order", list[0].Value.Order, err)
	// Output:
	// scheduled
	// rescheduled
	// rescheduled
	// 1 timer, with the order 2 <nil>
}

// Timers can be looked at. A payload that does not decode is its row's trouble
// alone.
func ExampleTimers_List() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for order := range 5 {
			id := fmt.Sprint("order-", order)
			if _, err := Reminders.ScheduleAfter(ctx, tx, id, time.Duration(order)*time.Hour, Reminder{Order: order}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	page := timers.Page{Size: 2}
	for {
		list, err := Reminders.Timers().List(ctx, pool, timers.Filter{Prefix: "order-"}, page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, t := range list {
			fmt.Println(t.TimerID, t.Value.Order, t.Err)
		}
		if len(list) < page.Size {
			break
		}
		page.After = list[len(list)-1].Cursor()
	}
	// Output:
	// order-0 0 <nil>
	// order-1 1 <nil>
	// order-2 2 <nil>
	// order-3 3 <nil>
	// order-4 4 <nil>
}

// Usage is what is reported.
type Usage struct{ At time.Time }

var Usages = typed.NewQueue[Usage]("usages")

// Every worker of a fleet has these options, and each tick is handled once.
func ExampleQueue_Recur() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	pool, done := openOutbox(ctx)
	defer done()

	worker, err := queue.NewWorker(pool,
		queue.Logger(discard),
		Usages.Handle(func(_ context.Context, u Usage) error {
			fmt.Println("on a full second:", u.At.Equal(u.At.Truncate(time.Second)))
			stop()
			return nil
		}),
		Usages.Recur("often", timers.Every(time.Second), func(t timers.Tick) Usage { return Usage{At: t.At} }),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(worker.Run(ctx))
	// Output:
	// on a full second: true
	// <nil>
}
