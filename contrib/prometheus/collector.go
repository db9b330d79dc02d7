// Package prometheus gives the metrics of Letterbox to Prometheus.
//
//	metrics := prometheus.New()
//	registry.MustRegister(metrics)
//	w, err := queue.NewWorker(pool, subscriptions, metrics.Worker())
//
// A [Collector] counts what workers do that have its option, and what is
// published with a context that [Collector.Publishing] made; handlers of those
// workers get such a context. README.md lists the metrics. All durations are in
// seconds. Labels are the queue, the outcome, and the reason of what failed for
// good: few values each, and none from messages.
package prometheus

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/letterbox-go/letterbox/queue"
)

// Collector is a prometheus.Collector with the metrics of any number of workers
// and publishers. Make it with [New]. It is safe for concurrent use.
type Collector struct {
	set  settings
	hook *queue.PublishHook
	all  []prometheus.Collector

	polls         *prometheus.CounterVec // outcome
	fetches       *prometheus.CounterVec // queue, outcome
	fetched       *prometheus.CounterVec // queue
	fetchTook     *prometheus.HistogramVec
	lag           *prometheus.HistogramVec
	dispatched    *prometheus.CounterVec
	handled       *prometheus.CounterVec // queue, outcome
	handlerTook   *prometheus.HistogramVec
	terminal      *prometheus.CounterVec // queue, reason
	inProgress    *prometheus.GaugeVec
	settled       *prometheus.CounterVec // queue, outcome
	settleTook    *prometheus.HistogramVec
	leasesLost    *prometheus.CounterVec
	deadLetters   *prometheus.CounterVec // queue, outcome
	drainTimeouts prometheus.Counter
	cancelled     prometheus.Counter
	listening     *prometheus.GaugeVec // without labels; there while it is known
	dropped       prometheus.Counter
	published     *prometheus.CounterVec // queue, outcome
	publishTook   *prometheus.HistogramVec

	known sync.Map // queues whose series have begun

	mu      sync.Mutex
	workers int // options that were made
	up      map[listener]bool
}

// listener is a worker on an outbox.
type listener struct {
	worker int
	outbox string
}

// Values of the label outcome where it is not a [queue.Outcome].
const (
	ok     = "ok"
	failed = "error"
	empty  = "empty"
)

// New makes a collector. Register it once; give [Collector.Worker] to workers.
func New(opts ...Option) *Collector {
	c := &Collector{set: defaults(), up: map[listener]bool{}}
	for _, o := range opts {
		o(&c.set)
	}
	c.hook = &queue.PublishHook{Begin: c.publishing}
	const q, outcome = "queue", "outcome"
	c.polls = c.counters("polls_total", "Looks for what no notification told of.", outcome)
	c.polls.WithLabelValues(ok)
	c.polls.WithLabelValues(failed)
	c.fetches = c.counters("fetches_total", "Claims, by whether they found messages (ok), none (empty), or failed (error).", q, outcome)
	c.fetched = c.counters("fetched_messages_total", "Messages that were claimed.", q)
	c.fetchTook = c.durations("fetch_duration_seconds", "Round trips of claims.", c.set.buckets, q)
	c.lag = c.durations("queue_lag_seconds", "How long messages had been due when they were claimed, by the database's clock.", c.set.lagBuckets, q)
	c.dispatched = c.counters("dispatched_messages_total", "Messages that were given to a handler.", q)
	c.handled = c.counters("handled_messages_total", "Messages that were handled, by what was decided about them.", q, outcome)
	c.handlerTook = c.durations("handler_duration_seconds", "Calls of handlers. One that had several outcomes counts once for each.", c.set.buckets, q, outcome)
	c.terminal = c.counters("terminal_messages_total", "Messages that failed for good, by the reason of their dead letters.", q, "reason")
	c.inProgress = c.gauges("messages_in_progress", "Messages that are being handled now.", q)
	c.settled = c.counters("settled_messages_total", "Outcomes that were sent to the database; those of an error are sent again.", q, outcome)
	c.settleTook = c.durations("settle_duration_seconds", "Round trips of outcomes.", c.set.buckets, q)
	c.leasesLost = c.counters("leases_lost_total", "Messages that may have gone to another worker while this one had them.", q)
	c.deadLetters = c.counters("dead_letters_total", "Dead letters that were written; those of an error are tried again.", q, outcome)
	c.drainTimeouts = c.counter("drain_timeouts_total", "Grace periods that ended while handlers ran.")
	c.cancelled = c.counter("drain_cancelled_messages_total", "Messages that were being handled when a grace period ended.")
	c.listening = c.gauges("listening", "Whether notifications come in: 1, or 0 where at least one worker has to poll an outbox.")
	c.dropped = c.counter("dropped_events_total", "Events that these metrics have missed, for they came too fast.")
	c.published = c.counters("published_messages_total", "Messages that were published, perhaps in transactions that did not commit, and those that could not be.", q, outcome)
	c.publishTook = c.durations("publish_duration_seconds", "Calls that publish.", c.set.buckets, q)
	return c
}

// Worker is the option of a worker whose metrics these are. Call it for each worker:
// it tells by that which of them listen.
func (c *Collector) Worker() queue.WorkerOption {
	return queue.Options{queue.Use(c.each), queue.UseBatch(c.batch), queue.Observe(c.observer())}
}

// observer takes in what one worker tells.
func (c *Collector) observer() queue.Observer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.workers++
	worker := c.workers
	return queue.Observer{
		Polled:        func(e queue.Polled) { c.polls.WithLabelValues(outcomeOf(e.Err)).Inc() },
		Fetched:       c.onFetched,
		Dispatched:    func(e queue.Dispatched) { c.dispatched.WithLabelValues(e.Queue).Add(float64(e.Messages)) },
		Handled:       c.onHandled,
		Settled:       c.onSettled,
		LeaseLost:     func(e queue.LeaseLost) { c.leasesLost.WithLabelValues(e.Queue).Inc() },
		DeadLetters:   c.onDeadLetters,
		DrainTimedOut: c.onDrainTimedOut,
		Listening:     func(e queue.Listening) { c.onListening(worker, e) },
		Dropped:       func(e queue.Dropped) { c.dropped.Add(float64(e.Events)) },
	}
}

// Publishing returns a context of which what is published is counted. Services
// make it once for each request, or once for all.
func (c *Collector) Publishing(ctx context.Context) context.Context {
	return queue.WithPublishHook(ctx, c.hook)
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range c.all {
		m.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.all {
		m.Collect(out)
	}
}

// know begins the series of a queue at zero, so that the first event of a kind is
// an increase that an alert sees.
func (c *Collector) know(name string) {
	if _, known := c.known.LoadOrStore(name, true); known {
		return
	}
	for _, outcome := range []string{ok, empty, failed} {
		c.fetches.WithLabelValues(name, outcome)
	}
	for _, outcome := range []queue.Outcome{queue.Acked, queue.Retried, queue.Terminal, queue.Snoozed, queue.Discarded, queue.Released} {
		c.handled.WithLabelValues(name, string(outcome))
	}
	for _, reason := range []string{queue.ReasonRetryTerminal, queue.ReasonRejected, queue.ReasonDecodeError, queue.ReasonMaxDeliveries} {
		c.terminal.WithLabelValues(name, reason)
	}
	for _, outcome := range []string{ok, failed} {
		c.settled.WithLabelValues(name, outcome)
		c.deadLetters.WithLabelValues(name, outcome)
	}
	c.fetched.WithLabelValues(name)
	c.dispatched.WithLabelValues(name)
	c.leasesLost.WithLabelValues(name)
	c.inProgress.WithLabelValues(name)
}

func (c *Collector) onFetched(e queue.Fetched) {
	c.know(e.Queue)
	outcome := ok
	switch {
	case e.Err != nil:
		outcome = failed
	case e.Messages == 0:
		outcome = empty
	}
	c.fetches.WithLabelValues(e.Queue, outcome).Inc()
	c.fetched.WithLabelValues(e.Queue).Add(float64(e.Messages))
	c.fetchTook.WithLabelValues(e.Queue).Observe(e.Took.Seconds())
	lag := c.lag.WithLabelValues(e.Queue)
	for _, d := range e.Lags {
		lag.Observe(d.Seconds())
	}
}

func (c *Collector) onHandled(e queue.Handled) {
	c.handled.WithLabelValues(e.Queue, string(e.Outcome)).Add(float64(len(e.IDs)))
	c.handlerTook.WithLabelValues(e.Queue, string(e.Outcome)).Observe(e.Took.Seconds())
	if e.Outcome == queue.Terminal {
		c.terminal.WithLabelValues(e.Queue, e.Reason).Add(float64(len(e.IDs)))
	}
}

func (c *Collector) onSettled(e queue.Settled) {
	c.settled.WithLabelValues(e.Queue, outcomeOf(e.Err)).Add(float64(e.Messages))
	c.settleTook.WithLabelValues(e.Queue).Observe(e.Took.Seconds())
}

func (c *Collector) onDeadLetters(e queue.DeadLettersWritten) {
	c.deadLetters.WithLabelValues(e.Queue, outcomeOf(e.Err)).Add(float64(e.Messages))
}

func (c *Collector) onDrainTimedOut(e queue.DrainTimedOut) {
	c.drainTimeouts.Inc()
	c.cancelled.Add(float64(e.Cancelled))
}

func (c *Collector) onListening(worker int, e queue.Listening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := (listener{worker, e.Outbox}); e.Ended {
		delete(c.up, l)
	} else {
		c.up[l] = e.Up
	}
	if len(c.up) == 0 { // neither 1 nor 0 would be true
		c.listening.Reset()
		return
	}
	all := 1.0
	for _, up := range c.up {
		if !up {
			all = 0
		}
	}
	c.listening.WithLabelValues().Set(all)
}

// each is the middleware of handlers of single messages.
func (c *Collector) each(next queue.Handler) queue.Handler {
	return func(ctx context.Context, d *queue.Delivery) error {
		g := c.inProgress.WithLabelValues(d.Queue)
		g.Inc()
		defer g.Dec()
		return next(c.Publishing(ctx), d)
	}
}

// batch is the middleware of handlers of batches.
func (c *Collector) batch(next queue.BatchHandler) queue.BatchHandler {
	return func(ctx context.Context, batch []*queue.Delivery) []error {
		g, n := c.inProgress.WithLabelValues(batch[0].Queue), float64(len(batch))
		g.Add(n)
		defer g.Sub(n)
		return next(c.Publishing(ctx), batch)
	}
}

// publishing is the hook.
func (c *Collector) publishing(context.Context, queue.Publishing) (map[string]string, func(queue.Published)) {
	return nil, func(p queue.Published) {
		n := len(p.IDs)
		if p.Err != nil {
			n = p.Messages
		}
		c.published.WithLabelValues(p.Queue, outcomeOf(p.Err)).Add(float64(n))
		c.publishTook.WithLabelValues(p.Queue).Observe(p.Took.Seconds())
	}
}

func outcomeOf(err error) string {
	if err != nil {
		return failed
	}
	return ok
}

// opts are those of one metric.
func (c *Collector) opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "letterbox", Name: name, Help: help, ConstLabels: c.set.labels}
}

func (c *Collector) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts(c.opts(name, help)), labels)
	c.all = append(c.all, v)
	return v
}

func (c *Collector) counter(name, help string) prometheus.Counter {
	v := prometheus.NewCounter(prometheus.CounterOpts(c.opts(name, help)))
	c.all = append(c.all, v)
	return v
}

func (c *Collector) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts(c.opts(name, help)), labels)
	c.all = append(c.all, v)
	return v
}

func (c *Collector) durations(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "letterbox", Name: name, Help: help, ConstLabels: c.set.labels, Buckets: buckets,
	}, labels)
	c.all = append(c.all, v)
	return v
}
