// Package otel gives traces and metrics of Letterbox to OpenTelemetry, after its
// semantic conventions for messaging.
//
//	telemetry := otel.New()
//	http.ListenAndServe(addr, otelhttp.NewHandler(telemetry.Handler(mux), "shop"))
//	w, err := queue.NewWorker(pool, subscriptions, telemetry.Worker())
//
// A publish is a span "send <queue>", whose context travels in the message's
// headers; handling is a span "process <queue>", its child. What the handler
// publishes goes on in the same trace. README.md lists the attributes and metrics.
package otel

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/letterbox-go/letterbox/queue"
)

const (
	scope = "github.com/letterbox-go/letterbox/contrib/otel"
	// system is the attribute messaging.system: PostgreSQL is what Letterbox is
	// built on, and has spans of its own where its driver is instrumented.
	system = "letterbox"
)

// Telemetry traces and measures any number of workers and publishers. Make it with
// [New]. It is safe for concurrent use.
type Telemetry struct {
	set    settings
	tracer trace.Tracer
	meters meters
	hook   *queue.PublishHook
}

// New makes a telemetry. Without options it takes the global providers and the
// global propagator. What goes wrong with instruments goes to OpenTelemetry's error
// handler, as is its way.
func New(opts ...Option) *Telemetry {
	t := &Telemetry{set: defaults()}
	for _, o := range opts {
		o(&t.set)
	}
	t.tracer = t.set.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	t.meters = newMeters(t.set.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)))
	t.hook = &queue.PublishHook{Begin: t.send}
	return t
}

// Worker is the option of a worker that is traced and measured. Call it for each worker:
// it tells by that which of them listen. It is middleware and an observer; middleware
// that comes after it sees the span in its context.
func (t *Telemetry) Worker() queue.WorkerOption {
	return queue.Options{queue.Use(t.process), queue.UseBatch(t.processBatch), queue.Observe(t.meters.observer())}
}

// Publishing returns a context of which what is published is traced and measured,
// timers included. The span's parent is that of the context at the publish.
func (t *Telemetry) Publishing(ctx context.Context) context.Context {
	return queue.WithPublishHook(ctx, t.hook)
}

// Handler does what [Telemetry.Publishing] does for each request's context. It
// makes no span of the request itself: that is otelhttp's, in or around it.
func (t *Telemetry) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(t.Publishing(r.Context())))
	})
}

// Option changes a telemetry.
type Option func(*settings)

type settings struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	linked     bool
	text       func(error) string
}

func defaults() settings {
	return settings{
		tracers: otel.GetTracerProvider(), meters: otel.GetMeterProvider(), propagator: global{},
		text: error.Error,
	}
}

// TracerProvider sets where spans go. Default: the global one. The last of several
// holds.
func TracerProvider(p trace.TracerProvider) Option { return func(s *settings) { s.tracers = p } }

// MeterProvider sets where metrics go. Default: the global one. The last of several
// holds.
func MeterProvider(p metric.MeterProvider) Option { return func(s *settings) { s.meters = p } }

// Propagator sets how a trace's context is written into headers and read from them.
// Default: the global one; where that does nothing, as long as none is set, W3C
// trace context. The last of several holds.
func Propagator(p propagation.TextMapPropagator) Option {
	return func(s *settings) { s.propagator = p }
}

// Linked has the handling of single messages begin a trace of its own, linked to the
// publish's, as that of batches does: for messages that wait for days, or lead to
// very many others. Default: it is a child of the publish, in one trace.
func Linked() Option { return func(s *settings) { s.linked = true } }

// ErrorText renders the errors of handlers and publishes for spans, to redact or to
// drop them. Default: the error's Error. The last of several holds.
func ErrorText(render func(error) string) Option { return func(s *settings) { s.text = render } }

// global is the global propagator, or W3C trace context while that does nothing.
type global struct{}

func (global) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	otel.GetTextMapPropagator().Inject(ctx, c)
	if len(c.Keys()) == 0 {
		propagation.TraceContext{}.Inject(ctx, c)
	}
}

func (global) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	was := trace.SpanContextFromContext(ctx)
	ctx = otel.GetTextMapPropagator().Extract(ctx, c)
	if trace.SpanContextFromContext(ctx).Equal(was) {
		ctx = propagation.TraceContext{}.Extract(ctx, c)
	}
	return ctx
}

func (global) Fields() []string { return otel.GetTextMapPropagator().Fields() }
