package otel

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/letterbox-go/letterbox/queue"
)

// Attributes of metrics that the conventions have no name for.
const (
	outcomeKey = attribute.Key("letterbox.outcome")
	reasonKey  = attribute.Key("letterbox.reason")
	outboxKey  = attribute.Key("letterbox.outbox")
)

// Bounds of histograms, in seconds: those that the conventions advise, and for lags
// some that are larger.
var (
	bounds    = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	lagBounds = append(bounds[:len(bounds):len(bounds)], 30, 60, 300, 900, 3600, 86400)
)

// meters are the instruments.
type meters struct {
	sentMessages     messagingconv.ClientSentMessages
	consumedMessages messagingconv.ClientConsumedMessages
	operation        messagingconv.ClientOperationDuration
	processing       messagingconv.ProcessDuration

	polls      metric.Int64Counter
	lag        metric.Float64Histogram
	handled    metric.Int64Counter
	inProgress metric.Int64UpDownCounter
	leasesLost metric.Int64Counter
	buried     metric.Int64Counter
	drains     metric.Int64Counter
	listening  *listeners
	dropped    metric.Int64Counter
}

func newMeters(m metric.Meter) meters {
	// An instrument that could not be made does nothing; the error is for the handler.
	durations := metric.WithExplicitBucketBoundaries(bounds...)
	up := &listeners{up: map[listener]bool{}}
	made(m.Int64ObservableGauge("letterbox.listening", metric.WithUnit("1"), metric.WithInt64Callback(up.observe),
		metric.WithDescription("Whether notifications come in for an outbox: 1, or 0 where at least one worker has to poll it.")))
	return meters{
		sentMessages:     made(messagingconv.NewClientSentMessages(m)),
		consumedMessages: made(messagingconv.NewClientConsumedMessages(m)),
		operation:        made(messagingconv.NewClientOperationDuration(m, durations)),
		processing:       made(messagingconv.NewProcessDuration(m, durations)),

		polls: made(m.Int64Counter("letterbox.polls", metric.WithUnit("{poll}"),
			metric.WithDescription("Looks for what no notification told of."))),
		lag: made(m.Float64Histogram("letterbox.queue.lag", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(lagBounds...),
			metric.WithDescription("How long messages had been due when they were claimed, by the database's clock."))),
		handled: made(m.Int64Counter("letterbox.handled.messages", metric.WithUnit("{message}"),
			metric.WithDescription("Messages that were handled, by what was decided about them."))),
		inProgress: made(m.Int64UpDownCounter("letterbox.messages.in_progress", metric.WithUnit("{message}"),
			metric.WithDescription("Messages that are being handled now."))),
		leasesLost: made(m.Int64Counter("letterbox.leases.lost", metric.WithUnit("{message}"),
			metric.WithDescription("Messages that may have gone to another worker while this one had them."))),
		buried: made(m.Int64Counter("letterbox.dead_letters", metric.WithUnit("{message}"),
			metric.WithDescription("Dead letters that were written; those with an error.type are tried again."))),
		drains: made(m.Int64Counter("letterbox.drain.timeouts", metric.WithUnit("{drain}"),
			metric.WithDescription("Grace periods that ended while handlers ran."))),
		listening: up,
		dropped: made(m.Int64Counter("letterbox.events.dropped", metric.WithUnit("{event}"),
			metric.WithDescription("Events that these metrics have missed, for they came too fast."))),
	}
}

// made passes an instrument on and its error to the error handler.
func made[I any](instrument I, err error) I {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

// destination are the attributes of a queue's metrics. An error adds its type.
func destination(name string, err error, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := append(more, semconv.MessagingDestinationName(name))
	if err != nil {
		attrs = append(attrs, errorType(err))
	}
	return attrs
}

// with are the attributes of a metric of ours.
func with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attrs...))
}

// sent measures a publish.
func (m *meters) sent(ctx context.Context, p queue.Published) {
	n := len(p.IDs)
	if p.Err != nil {
		n = p.Messages
	}
	m.sentMessages.Add(ctx, int64(n), "send", system, destination(p.Queue, p.Err)...)
	m.operation.Record(ctx, p.Took.Seconds(), "send", system, destination(p.Queue, p.Err, semconv.MessagingOperationTypeSend)...)
}

// handling counts messages that begin to be handled, or, below zero, end.
func (m *meters) handling(ctx context.Context, name string, n int) {
	m.inProgress.Add(ctx, int64(n), with(destination(name, nil)...))
}

// observer measures what one worker tells. Events come after the fact, so there is no
// context that they belong to.
func (m *meters) observer() queue.Observer {
	ctx, worker := context.Background(), m.listening.worker()
	return queue.Observer{
		Polled: func(e queue.Polled) {
			attrs := []attribute.KeyValue{outboxKey.String(e.Outbox)}
			if e.Err != nil {
				attrs = append(attrs, errorType(e.Err))
			}
			m.polls.Add(ctx, 1, with(attrs...))
		},
		Fetched: func(e queue.Fetched) {
			m.operation.Record(ctx, e.Took.Seconds(), "receive", system, destination(e.Queue, e.Err, semconv.MessagingOperationTypeReceive)...)
			attrs := with(destination(e.Queue, nil)...)
			for _, d := range e.Lags {
				m.lag.Record(ctx, d.Seconds(), attrs)
			}
		},
		Dispatched: func(e queue.Dispatched) {
			m.consumedMessages.Add(ctx, int64(e.Messages), "process", system, destination(e.Queue, nil)...)
		},
		Handled: func(e queue.Handled) {
			attrs := destination(e.Queue, nil, outcomeKey.String(string(e.Outcome)))
			if e.Reason != "" {
				attrs = append(attrs, reasonKey.String(e.Reason))
			}
			m.handled.Add(ctx, int64(len(e.IDs)), with(attrs...))
			attrs = destination(e.Queue, nil)
			if e.Outcome == queue.Retried || e.Outcome == queue.Terminal {
				attrs = append(attrs, semconv.ErrorTypeKey.String(string(e.Outcome)))
			}
			m.processing.Record(ctx, e.Took.Seconds(), "process", system, attrs...)
		},
		Settled: func(e queue.Settled) {
			m.operation.Record(ctx, e.Took.Seconds(), "settle", system, destination(e.Queue, e.Err, semconv.MessagingOperationTypeSettle)...)
		},
		LeaseLost: func(e queue.LeaseLost) { m.leasesLost.Add(ctx, 1, with(destination(e.Queue, nil)...)) },
		DeadLetters: func(e queue.DeadLettersWritten) {
			m.buried.Add(ctx, int64(e.Messages), with(destination(e.Queue, e.Err, reasonKey.String(e.Reason))...))
		},
		DrainTimedOut: func(e queue.DrainTimedOut) { m.drains.Add(ctx, 1, with(outboxKey.String(e.Outbox))) },
		Listening:     func(e queue.Listening) { m.listening.told(worker, e) },
		Dropped:       func(e queue.Dropped) { m.dropped.Add(ctx, e.Events) },
	}
}

// listeners know which workers get notifications.
type listeners struct {
	mu      sync.Mutex
	workers int // that were counted
	up      map[listener]bool
}

// listener is a worker on an outbox.
type listener struct {
	worker int
	outbox string
}

func (l *listeners) worker() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.workers++
	return l.workers
}

func (l *listeners) told(worker int, e queue.Listening) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := (listener{worker, e.Outbox}); e.Ended {
		delete(l.up, k)
	} else {
		l.up[k] = e.Up
	}
}

// observe is the gauge's callback. An outbox that no worker listens or polls for has no value.
func (l *listeners) observe(_ context.Context, o metric.Int64Observer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]int64{}
	for k, up := range l.up {
		if _, known := all[k.outbox]; !known {
			all[k.outbox] = 1
		}
		if !up {
			all[k.outbox] = 0
		}
	}
	for outbox, up := range all {
		o.Observe(up, with(outboxKey.String(outbox)))
	}
	return nil
}
