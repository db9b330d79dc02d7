package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

// workerVariable makes the program a worker process. It holds a workerOrder.
const workerVariable = "LETTERBOX_FAULTS_WORKER"

// exitBroken is the status of a worker that cannot go on, which is nobody's plan.
const exitBroken = 3

// workerOrder is what a worker process is told. It goes on until SIGTERM, or until its standard input ends with the
// harness. A line there is a command; see obey.
type workerOrder struct {
	Name      string
	DSN       string
	ListenDSN string
	Journal   string
	Skew      time.Duration // of its clock; see build
}

// workerConnections is how many the handlers of a process share: fewer than want one.
const workerConnections = 6

func beWorker(text string) error {
	var o workerOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("read %s: %w", workerVariable, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return err
	}
	config.MaxConns = workerConnections
	config.ConnConfig.RuntimeParams["application_name"] = o.Name
	listen, err := pgx.ParseConfig(o.ListenDSN)
	if err != nil {
		return err
	}
	listen.RuntimeParams["application_name"] = o.Name
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	j, err := openJournal(o.Journal, o.Skew)
	if err != nil {
		return err
	}
	h := &handlers{name: o.Name, journal: j}
	w, err := queue.NewWorker(pool, h.subscriptions(),
		queue.Lease(leaseTime), queue.Grace(graceTime), queue.MaxDeliveries(maxDeliveries), queue.Concurrency(8), queue.ListenOn(listen),
		queue.Logger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
		queue.Retry(retry.Exponential{
			First: 100 * time.Millisecond, MaxDelay: 3 * time.Second, Jitter: 0.2, MaxAttempts: 8,
		}))
	if err != nil {
		return err
	}
	go func() {
		obey(ctx, pool, os.Stdin)
		stop() // the harness is gone
	}()
	if err := w.Run(ctx); !errors.Is(err, queue.ErrUnfinished) {
		return err
	}
	os.Exit(0) // stubborn handlers are still at work: closing the pool would wait for them
	return nil
}

// obey does what the lines say: "hog 2s" takes every connection of the pool for so long.
func obey(ctx context.Context, pool *pgxpool.Pool, in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		d, err := time.ParseDuration(rest)
		if word != "hog" || err != nil {
			fmt.Fprintf(os.Stderr, "faults worker: no command: %q\n", lines.Text())
			os.Exit(exitBroken)
		}
		hog(ctx, pool, d)
	}
}

// hog takes connections as they come free, and keeps them until d is over.
func hog(ctx context.Context, pool *pgxpool.Pool, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		c, err := pool.Acquire(ctx)
		if ctx.Err() != nil {
			if err == nil {
				c.Release()
			}
			return
		}
		if err != nil { // no connection to be had, which serves as well
			<-ctx.Done()
			return
		}
		defer c.Release()
	}
}
