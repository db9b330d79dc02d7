package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
)

// PingTimeout is how long [Outbox.Ping] waits at most.
const PingTimeout = 2 * time.Second

// Pinger runs a query: a *pgxpool.Pool, a *pgx.Conn or a pgx.Tx.
type Pinger interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Ping reports whether the outbox can be reached: there is a connection, it can
// write, and the table is there and may be read. It takes one round trip, reads no
// row, and gives up after [PingTimeout], or when ctx ends; waiting for a free
// connection of the pool counts, and so does a table that somebody has locked. It
// is for a health check that is asked often; whether the tables are as they should
// be, [Outbox.Validate] says.
//
// Errors wrap [ErrNoTable], [ErrReadOnly] or what the database said.
func (o Outbox) Ping(ctx context.Context, db Pinger) error {
	t, err := o.Bind()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, PingTimeout)
	defer cancel()
	switch writes, err := t.Ping(ctx, db); {
	case err != nil:
		return fmt.Errorf("ping %s: %w", t, access.Explain(t, err))
	case !writes:
		return fmt.Errorf("ping %s: %w", t, ErrReadOnly)
	}
	return nil
}

// WorkerState is what a worker is at.
type WorkerState string

// States of a worker.
const (
	NotStarted WorkerState = "not started"
	Running    WorkerState = "running"
	Draining   WorkerState = "draining" // it claims nothing more, and finishes what it has
	Stopped    WorkerState = "stopped"  // Run has returned
)

// Health is how a worker fares; see [Worker.Health].
type Health struct {
	State WorkerState
	// Queues has one for each subscription.
	Queues []QueueHealth
}

// QueueHealth is how one queue fares in a worker, as its last round trips told.
type QueueHealth struct {
	Outbox Outbox
	Queue  string
	// Listening says that notifications are coming in; else the worker polls for
	// the queue, see [BlindPollInterval].
	Listening bool
	// LastClaim is when the database last answered a claim, which may have found
	// nothing, or a look at what is due, which comes at each poll interval even
	// while no handler is free. For [Queue.HandleBatchTx] it is when a transaction
	// has ended. Zero: never yet.
	LastClaim time.Time
	// Lag is how late the oldest due message was at LastClaim, by the database's
	// clock. Zero: none was due, or the queue is paused.
	Lag time.Duration
	// Errors counts the tries to reach the queue that have failed in a row, and
	// LastError is the last of them, as it is logged. Failures of handlers do not
	// count.
	Errors    int
	LastError error
}

// Health reports how the worker fares. It asks the database nothing and waits for
// nobody, so it can be called at any time, from any goroutine: before Run, while it
// goes on, and after it, when it says how things stood at the end.
func (w *Worker) Health() Health {
	h := Health{State: NotStarted}
	now := w.serving.Load()
	if now == nil {
		for _, s := range w.subs {
			h.Queues = append(h.Queues, QueueHealth{Outbox: s.queue.outbox, Queue: s.queue.name})
		}
		return h
	}
	h.State = Running
	for i, e := range now.engines {
		eh := e.Health()
		if eh.Draining {
			h.State = Draining
		}
		for j, q := range eh.Queues {
			h.Queues = append(h.Queues, QueueHealth{
				Outbox: now.groups[i].subs[j].queue.outbox, Queue: q.Name, Listening: eh.Listening,
				LastClaim: q.Seen, Lag: q.Lag, Errors: q.Failures, LastError: q.Err,
			})
		}
	}
	if now.ended.Load() {
		h.State = Stopped
	}
	return h
}

// Err is nil where the worker is ready: it runs, every queue has been reached, and
// none is failing. Else it says what is not so. A queue that is polled for is
// ready too.
func (h Health) Err() error {
	var problems []error
	if h.State != Running {
		problems = append(problems, fmt.Errorf("the worker is %s", h.State))
	}
	for _, q := range h.Queues {
		switch {
		case q.Errors > 0:
			problems = append(problems, fmt.Errorf("queue %q has failed %d times in a row: %w", q.Queue, q.Errors, q.LastError))
		case q.LastClaim.IsZero():
			problems = append(problems, fmt.Errorf("queue %q has not been reached yet", q.Queue))
		}
	}
	return errors.Join(problems...)
}

// serving is one Run of a worker.
type serving struct {
	groups  []group
	engines []*lease.Engine // one for each group
	ended   atomic.Bool
}

// serve makes a Run known to Health, until the function that it returns is called.
func (w *Worker) serve(groups []group, engines []*lease.Engine) (end func()) {
	s := &serving{groups: groups, engines: engines}
	w.serving.Store(s)
	return func() { s.ended.Store(true) }
}
