package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// worker is what a system's work is given.
type worker struct {
	db          *database
	pool        *pgxpool.Pool // for this worker alone
	concurrency int
	batch       int
	form        form
	queues      int // how many queues to serve; only the first has messages
	handle      func(number int)
	log         *slog.Logger
}

// form is how messages are handled.
type form uint8

const (
	single    form = iota // one by one
	batched               // several at once
	batchedTx             // several at once, claimed, handled and deleted in one transaction
)

// workerName is what the connections of workers say they are.
const workerName = "bench worker"

// start runs a worker of the system until ctx ends. Everything that was handled is settled when it returns. lost is how
// many leases it lost.
func (w worker) start(ctx context.Context, s system, set settings) (lost int, err error) {
	w.concurrency, w.queues = set.concurrency, max(1, w.queues)
	if w.batch == 0 {
		w.batch = set.batch
	}
	if w.pool, err = w.db.connect(ctx, workerName, int32(w.concurrency)+4); err != nil {
		return 0, err
	}
	defer w.pool.Close()
	log := newWatchedLog(slog.NewTextHandler(os.Stderr, nil))
	w.log = slog.New(log)
	if err := s.work(ctx, w); err != nil {
		return 0, fmt.Errorf("work: %w", err)
	}
	return int(log.lost.Load()), nil
}

var errWorkerEnded = errors.New("the worker ended by itself")

// working runs a worker while f runs, and returns when both have ended. The worker is told to stop when f returns; f's
// context ends when the worker does.
func (r *run) working(ctx context.Context, w worker, f func(ctx context.Context) error) (lost int, err error) {
	work, stop := context.WithCancel(ctx)
	defer stop()
	watch, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	type end struct {
		lost int
		err  error
	}
	done := make(chan end, 1)
	go func() {
		lost, err := w.start(work, r.system, r.set)
		done <- end{lost, err}
		ended(errWorkerEnded)
	}()
	err = f(watch)
	stop()
	e := <-done
	if e.err != nil && errors.Is(err, errWorkerEnded) {
		err = nil // the worker's own error says more
	}
	return e.lost, errors.Join(err, e.err)
}

// drain has a worker handle the n messages that are in its database, audits that, and returns how long it took.
func (r *run) drain(ctx context.Context, w worker, n int) (time.Duration, error) {
	a := newAudit(n)
	took, lost, err := r.handleAll(ctx, w, a)
	if err != nil {
		return 0, err
	}
	return took, r.check(ctx, w.db, a, lost)
}

// handleAll has a worker handle all that the audit expects. It takes from the start of the worker, its connections
// included, until everything is settled.
func (r *run) handleAll(ctx context.Context, w worker, a *audit) (took time.Duration, lost int, err error) {
	w.handle = a.handle
	began := time.Now()
	lost, err = r.working(ctx, w, a.wait)
	return time.Since(began), lost, err
}

// check ends an audit, after the worker has ended.
func (r *run) check(ctx context.Context, db *database, a *audit, lost int) error {
	left, err := r.system.left(ctx, db)
	if err != nil {
		return err
	}
	found := a.close(left, lost)
	r.result.Audits = append(r.result.Audits, found)
	return found.err()
}
