package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// working runs a worker while f does, and until it has drained.
func (b benchmark) working(ctx context.Context, pool *pgxpool.Pool, q queue.Queue, handle func(), f func(context.Context) error) error {
	w, err := queue.NewWorker(pool, queue.Concurrency(b.concurrency), queue.Logger(slog.New(slog.DiscardHandler)),
		q.Handle(func(context.Context, *queue.Delivery) error {
			handle()
			return nil
		}))
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	err = f(ctx)
	stop()
	return errors.Join(err, <-ended)
}

func (b benchmark) drain(ctx context.Context, t *tool, pool *pgxpool.Pool, q queue.Queue) (perSecond float64, err error) {
	bar := t.progress(int64(b.messages), "draining")
	defer bar.end()
	var handled atomic.Int64
	all := make(chan struct{}, b.messages) // room for each, should any come twice: no handler waits
	began := time.Now()
	err = b.working(ctx, pool, q, func() {
		if handled.Add(1) == int64(b.messages) {
			all <- struct{}{}
		}
	}, func(ctx context.Context) error {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-all:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
				bar.to(handled.Load())
			}
		}
	})
	return float64(b.messages) / time.Since(began).Seconds(), err
}

// stall is after how long a message that is not handled is taken for lost.
const stall = 30 * time.Second

// start measures how soon an idle worker starts a message: from the return of the commit on.
func (b benchmark) start(ctx context.Context, t *tool, pool *pgxpool.Pool, q queue.Queue) (waits []time.Duration, err error) {
	bar := t.progress(int64(b.samples), "waking")
	defer bar.end()
	started := make(chan time.Time, b.samples+1)
	err = b.working(ctx, pool, q, func() { started <- time.Now() }, func(ctx context.Context) error {
		for i := range b.samples + 1 {
			if _, err := q.Publish(context.WithoutCancel(ctx), queue.Autocommit(pool), make([]byte, b.bytes)); err != nil {
				return err
			}
			committed := time.Now()
			select {
			case at := <-started:
				if i > 0 { // before the first, the worker is still starting
					waits = append(waits, max(0, at.Sub(committed)))
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(stall):
				return fmt.Errorf("message %d was not handled within %v", i, stall)
			}
			bar.to(int64(i))
		}
		return nil
	})
	return waits, err
}
