package readme

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// Remind schedules a reminder with the order, and moves it when it is there already.
func Remind(ctx context.Context, tx pgx.Tx, o OrderPlaced) error {
	_, err := Placed.RescheduleAfter(ctx, tx, fmt.Sprint("remind-", o.ID), 24*time.Hour, o)
	return err
}

// Forget cancels it in the transaction that makes it pointless.
func Forget(ctx context.Context, tx pgx.Tx, o OrderPlaced) error {
	res, err := Placed.Cancel(ctx, tx, fmt.Sprint("remind-", o.ID))
	if err == nil {
		fmt.Println(res.Outcome) // cancelled, running or absent
	}
	return err
}

// Summary is a message for each night.
type Summary struct {
	Until time.Time `json:"until"`
}

// Summaries is its queue.
var Summaries = typed.NewQueue[Summary]("orders.summary")

// Summarize is an option of workers: each night one of them stores a message, and one handles it.
func Summarize(handle func(context.Context, Summary) error) queue.WorkerOption {
	nightly := timers.Cron("30 2 * * *", "Europe/Berlin") // or timers.Every(15*time.Minute)
	return queue.Options{
		Summaries.Recur("nightly", nightly, func(t timers.Tick) Summary { return Summary{Until: t.At} }),
		Summaries.Handle(handle),
	}
}
