package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// floorPoll is how often a floor looks when nothing calls it.
const floorPoll = 5 * time.Second

// listen has a connection of the pool wait for notifications, and passes them on, folded into one, until stop.
func listen(ctx context.Context, pool *pgxpool.Pool) (calls <-chan struct{}, stop func(), err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Exec(ctx, `LISTEN floor`); err != nil {
		conn.Release()
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	heard := make(chan struct{}, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := conn.Conn().WaitForNotification(ctx); err != nil {
				return
			}
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	}()
	return heard, func() {
		cancel()
		<-ended
		conn.Conn().Close(context.WithoutCancel(ctx)) //nolint:errcheck // it is of no use any more
		conn.Release()
	}, nil
}

// waitForFloor returns when there may be something to claim: after a call, when the next row becomes due, after the poll
// interval, or when ctx ends.
func waitForFloor(ctx context.Context, conn *pgx.Conn, calls <-chan struct{}) error {
	var next *float64
	err := conn.QueryRow(context.WithoutCancel(ctx), `
		SELECT extract(epoch FROM min(next_attempt_at) - clock_timestamp())::float8
		FROM outbox WHERE queue = $1 AND acquired_token IS NULL`, floorQueue).Scan(&next)
	if err != nil {
		return err
	}
	wait := floorPoll
	if next != nil {
		wait = min(wait, time.Duration(max(0, *next)*float64(time.Second)))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-calls:
	case <-timer.C:
	}
	return nil
}
