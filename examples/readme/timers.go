package readme

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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
