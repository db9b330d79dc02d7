package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/access"
)

// Background runs a function beside delivery for as long as the worker runs: a
// retention, a report. It is given the worker's pool and logger. Its context
// ends when the worker is told to stop, and the worker waits for it then, for
// 2 s or as long as its handlers take.
//
// nil means that it is done. After an error, or a panic, which is logged, it is
// run again: in 1 s, then in twice the time, up to a minute. Neither touches
// delivery. In a fleet each worker runs it. A nil function is refused. Several
// add up.
func Background(name string, run func(ctx context.Context, db *pgxpool.Pool, log *slog.Logger) error) WorkerOption {
	if run == nil {
		return BadOption(fmt.Errorf("background %q: the function is nil", name))
	}
	onPool := func(ctx context.Context, db access.Pool, log *slog.Logger) error {
		return run(ctx, db.(*pgxpool.Pool), log)
	}
	return workerOption(func(w *workerSettings) {
		w.background = append(w.background, background{name: name, run: onPool, needsPool: true})
	})
}

// BadOption is an option that [NewWorker] refuses with err. It lets those who
// build options on others report a mistake where all others come back. With nil
// it is an option that does nothing.
func BadOption(err error) WorkerOption {
	return workerOption(func(w *workerSettings) { w.bad = errors.Join(w.bad, err) })
}

// Beside is [Background] for what works on any database that a worker has. ends
// says that the function only sets something up. It is for packages timers and dlq.
func Beside(name string, ends bool, run func(ctx context.Context, db access.Pool, log *slog.Logger) error) WorkerOption {
	return workerOption(func(w *workerSettings) {
		w.background = append(w.background, background{name: name, run: run, ends: ends})
	})
}

type background struct {
	name      string
	run       func(ctx context.Context, db access.Pool, log *slog.Logger) error
	needsPool bool
	ends      bool
}

// Timing of what runs in the background.
const (
	firstRestart = time.Second
	maxRestart   = time.Minute
	// backgroundGrace is how long a worker waits once it is told to stop; the
	// engines, which wait for handlers, may need longer.
	backgroundGrace = 2 * time.Second
)

// runBackground starts everything and returns what ends it and waits for that.
func (w *Worker) runBackground(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(backgroundGrace, func() { close(late) }) })
	var running sync.WaitGroup
	for _, b := range w.set.background {
		running.Go(func() { b.keep(ctx, w.base.db(), w.set.log.With(slog.String("background", b.name)), firstRestart) })
	}
	ended := make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	return func() {
		cancel()
		select {
		case <-ended:
		case <-late:
			select {
			case <-ended: // long before
			default:
				w.set.log.Error("a background function ignores its context and is left behind")
			}
		}
	}
}

// keep runs the function until it is done or ctx ends.
func (b background) keep(ctx context.Context, db access.Pool, log *slog.Logger, pause time.Duration) {
	for ctx.Err() == nil {
		began := time.Now()
		err := b.once(ctx, db, log)
		if err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > maxRestart {
			pause = firstRestart
		}
		log.Error("background function failed; it is run again", slog.Any("error", err), slog.Duration("backoff", pause))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(maxRestart, 2*pause)
	}
}

// once turns a panic into an error, as guard does for handlers.
func (b background) once(ctx context.Context, db access.Pool, log *slog.Logger) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return b.run(ctx, db, log)
}
