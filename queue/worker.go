package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Worker delivers the messages of its subscriptions. Make it with [NewWorker].
type Worker struct {
	base base
	set  workerSettings
	subs []configured

	serving atomic.Pointer[serving] // nil before the first Run
}

// configured is a subscription with all its settings.
type configured struct {
	Subscription
	set settings
}

// NewWorker makes a worker of subscriptions and options and checks all of them:
// the error lists every problem. It does not touch the database.
//
// The pool is what transactional handlers run on. For its own statements the
// worker opens up to four connections for each outbox with the pool's
// configuration, and one to LISTEN on, so that handlers which use up the pool
// cannot keep the leases from being extended.
func NewWorker(pool *pgxpool.Pool, opts ...WorkerOption) (*Worker, error) {
	return newWorker(onPostgres{pool}, opts)
}

func newWorker(on base, opts []WorkerOption) (*Worker, error) {
	w := &Worker{base: on, set: workerDefaults()}
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("make worker: an option is nil")
		}
		o.applyWorker(&w.set)
	}
	problems := []error{on.check(&w.set)}
	if len(w.set.subs) == 0 {
		problems = append(problems, errors.New("there is no subscription"))
	}
	problems = append(problems, w.set.check())

	type place struct {
		names postgres.Names
		queue string
	}
	seen := map[place]bool{}
	for _, s := range w.set.subs {
		set := defaults(s.form)
		for _, o := range w.set.delivery {
			o(&set)
		}
		for _, o := range s.options {
			if o == nil {
				problems = append(problems, fmt.Errorf("queue %q: an option is nil", s.queue.name))
				continue
			}
			o.applySubscribe(&set)
		}
		if err := s.check(set); err != nil {
			problems = append(problems, err)
		}
		if s.queue.Err() != nil {
			continue // it may have no table
		}
		at := place{s.queue.table.Names(), s.queue.name}
		if seen[at] {
			problems = append(problems, fmt.Errorf("queue %q has two subscriptions in one worker", s.queue.name))
		}
		seen[at] = true
		w.subs = append(w.subs, configured{s, set})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("make worker: %w", err)
	}
	return w, nil
}

// ErrUnfinished says that handlers were still running when a drain ended.
var ErrUnfinished = errors.New("handlers were still running when the drain ended")

// Run delivers messages until ctx ends, then drains: it claims nothing more,
// hands back what no handler has begun, waits for running handlers as long as
// the grace period (see [Grace]), cancels their contexts with [ErrShutdown] and
// waits 2 s more, and returns, at most 5 s after the grace period, and 1 s more
// where an observer blocks. It returns nil then, or [ErrUnfinished] where a handler
// ignored its context: its message goes to another worker when the lease runs out.
//
// Run does not return because of the database: while that is out of reach, or a
// table is missing, it logs the cause and tries again, and what can go on does.
// Run may be called again after it has returned.
func (w *Worker) Run(ctx context.Context) error {
	groups := w.byTable()
	l, err := w.base.connect(ctx, len(groups))
	if err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	defer l.close()

	watching := watch(w.set.observers, w.set.log)
	defer watching.close()
	engines := make([]*lease.Engine, len(groups))
	for i, g := range groups {
		g.witness = watching.of(g.table.String())
		defer g.witness.endListening()
		engines[i] = w.engine(g, l)
	}
	defer w.serve(groups, engines)()
	listen, stopListening := context.WithCancel(context.WithoutCancel(ctx))
	defer stopListening()
	var listener, running sync.WaitGroup
	if w.set.listen {
		listener.Go(func() { l.listen(listen, &w.set, groups, engines) })
	}
	ended := make([]error, len(engines))
	for i, e := range engines {
		running.Go(func() { ended[i] = e.Run(ctx) })
	}
	stopBackground := w.runBackground(ctx)
	w.set.log.Info("worker started", slog.Any("queues", w.queues()))
	running.Wait()
	stopListening()
	listener.Wait()
	stopBackground()
	if err := errors.Join(ended...); err != nil {
		w.set.log.Error("worker stopped with handlers left behind", slog.Any("error", err))
		return fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	w.set.log.Info("worker stopped", slog.Any("queues", w.queues()))
	return nil
}

// group is the subscriptions of one outbox. Outboxes are served apart, so that
// a table that is missing stops no other.
type group struct {
	table   *postgres.Table
	notify  Notify // the first subscription's
	subs    []configured
	witness *witness
}

func (w *Worker) byTable() []group {
	var groups []group
	at := map[postgres.Names]int{}
	for _, s := range w.subs {
		i, ok := at[s.queue.table.Names()]
		if !ok {
			i = len(groups)
			at[s.queue.table.Names()] = i
			groups = append(groups, group{table: s.queue.table, notify: s.queue.outbox.Notify})
		}
		groups[i].subs = append(groups[i].subs, s)
	}
	return groups
}

func (w *Worker) engine(g group, l link) *lease.Engine {
	queues := make([]lease.Queue, len(g.subs))
	for i, sub := range g.subs {
		p := newProcessor(sub, w.base.ground(g.table), w.set.log)
		p.witness = g.witness
		queues[i] = lease.Queue{
			Name:        sub.queue.name,
			Concurrency: sub.set.concurrency,
			Batch:       1,
			Ahead:       sub.set.ahead,
			Lease:       sub.set.lease,
			Process:     g.witness.process(sub.queue.name, p.process),
		}
		switch {
		case sub.form.batch != nil:
			queues[i].Batch = sub.set.batchSize
			queues[i].Process = g.witness.process(sub.queue.name, p.processBatch)
		case sub.form.batchTx != nil:
			queues[i].Batch = sub.set.batchSize
			queues[i].Process, queues[i].Hold = nil, p.hold
		}
	}
	c := lease.Config{
		Store:     l.store(g.table),
		Queues:    queues,
		Poll:      w.set.poll,
		BlindPoll: w.set.blindPoll,
		Grace:     w.set.grace,
		Log:       w.set.log.With(slog.String("outbox", g.table.String())),
		Explain:   func(err error) error { return access.Explain(g.table, err) },
	}
	if w.set.listen && g.notify == NotifySleeping {
		c.Sleeper = l.sleeper(g.table)
	}
	if g.witness != nil {
		c.Observer = g.witness
	}
	return lease.New(c)
}

func (w *Worker) queues() []string {
	names := make([]string, len(w.subs))
	for i, s := range w.subs {
		names[i] = s.queue.name
	}
	return names
}

// WorkerOption changes a worker. Subscriptions are worker options too.
type WorkerOption interface{ applyWorker(*workerSettings) }

type workerSettings struct {
	subs         []Subscription
	delivery     []deliveryOption
	poll         time.Duration
	blindPoll    time.Duration
	grace        time.Duration
	log          *slog.Logger
	listen       bool
	listenConfig *pgx.ConnConfig
	background   []background
	observers    []Observer
	bad          error // of options that could not be made
}

func workerDefaults() workerSettings {
	return workerSettings{
		poll:      30 * time.Second,
		blindPoll: time.Second,
		grace:     30 * time.Second,
		log:       slog.Default(),
		listen:    true,
	}
}

func (s Subscription) applyWorker(w *workerSettings)  { w.subs = append(w.subs, s) }
func (s Subscriptions) applyWorker(w *workerSettings) { w.subs = append(w.subs, s...) }

type workerOption func(*workerSettings)

func (o workerOption) applyWorker(w *workerSettings) { o(w) }

// PollInterval is how often the worker looks for messages that no notification
// told of, and for expired leases, while notifications come in. Default 30 s;
// zero or less is refused. The last of several holds.
func PollInterval(d time.Duration) WorkerOption {
	return workerOption(func(w *workerSettings) { w.poll = d })
}

// BlindPollInterval is the same while no notifications come in: with [NoListen],
// and while the listening connection is down. Default 1 s; zero or less is
// refused. The last of several holds.
func BlindPollInterval(d time.Duration) WorkerOption {
	return workerOption(func(w *workerSettings) { w.blindPoll = d })
}

// Grace is how long running handlers may go on once the worker is told to stop,
// before their contexts are cancelled. Default 30 s; zero cancels at once, and
// less is refused. The last of several holds.
func Grace(d time.Duration) WorkerOption {
	return workerOption(func(w *workerSettings) { w.grace = d })
}

// Logger is where the worker tells what it does. Default [slog.Default]; nil is
// refused. Payloads and headers are never logged; what handlers return is, see
// [ErrorText]. The last of several holds.
func Logger(l *slog.Logger) WorkerOption {
	return workerOption(func(w *workerSettings) { w.log = l })
}

// NoListen makes the worker do without LISTEN: it polls, see
// [BlindPollInterval]. For connections that cannot listen, as those of PgBouncer
// in transaction mode.
func NoListen() WorkerOption {
	return workerOption(func(w *workerSettings) { w.listen = false })
}

// ListenOn gives the listening connection a configuration of its own: a direct
// way to the server where the pool goes through PgBouncer. It is used as it is,
// without the pool's BeforeConnect. A session there that is read-only by default is
// given up, as that of a primary which has been replaced. Default, and nil: the
// pool's, which BeforeConnect is called on before each connect. The last of several
// holds.
func ListenOn(c *pgx.ConnConfig) WorkerOption {
	return workerOption(func(w *workerSettings) { w.listenConfig = c })
}

func (s workerSettings) check() error {
	problems := []error{s.bad}
	if s.poll <= 0 {
		problems = append(problems, fmt.Errorf("poll interval is %v, it must be above zero", s.poll))
	}
	if s.blindPoll <= 0 {
		problems = append(problems, fmt.Errorf("blind poll interval is %v, it must be above zero", s.blindPoll))
	}
	if s.grace < 0 {
		problems = append(problems, fmt.Errorf("grace period is %v, it must not be below zero", s.grace))
	}
	if s.log == nil {
		problems = append(problems, errors.New("the logger is nil"))
	}
	return errors.Join(problems...)
}
