package otel_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/letterbox-go/letterbox/contrib/otel"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

var (
	orders   = queue.New("orders")
	invoices = queue.New("invoices")
)

// lab is a database, and a telemetry that keeps what it is given.
type lab struct {
	*otel.Telemetry
	t      *testing.T
	pool   *pgxpool.Pool
	tracer *sdktrace.TracerProvider
	spans  *tracetest.InMemoryExporter
	reader *sdkmetric.ManualReader
}

func newLab(t *testing.T, opts ...otel.Option) *lab {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{
		t: t, pool: pgtest.New(t, pgtest.Schema(schema)).Pool,
		spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader(),
	}
	l.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(l.spans))
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(l.reader))
	l.Telemetry = otel.New(append([]otel.Option{otel.TracerProvider(l.tracer), otel.MeterProvider(meter)}, opts...)...)
	return l
}

// start runs a worker until stop, or the test's end.
func (l *lab) start(opts ...queue.WorkerOption) (stop func()) {
	l.t.Helper()
	w, err := queue.NewWorker(l.pool, append([]queue.WorkerOption{l.Worker(), queue.Logger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			l.t.Error(err)
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// untilEmpty waits until the outbox is empty.
func (l *lab) untilEmpty() {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for left := 1; left > 0; {
		select {
		case <-tick.C:
		case <-late:
			l.t.Fatal("the outbox is never empty")
		}
		if err := l.pool.QueryRow(l.t.Context(), "SELECT count(*) FROM outbox").Scan(&left); err != nil {
			l.t.Fatal(err)
		}
	}
}

// span is the one span of a name.
func (l *lab) span(name string) tracetest.SpanStub {
	l.t.Helper()
	all := l.all(name)
	if len(all) != 1 {
		l.t.Fatalf("there are %d spans %q", len(all), name)
	}
	return all[0]
}

// all are the spans of a name, in the order in which they ended.
func (l *lab) all(name string) (found []tracetest.SpanStub) {
	for _, s := range l.spans.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// attributes of a span, as text.
func attributes(list []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range list {
		m[string(kv.Key)] = kv.Value.String()
	}
	return m
}

// collect reads all metrics.
func (l *lab) collect() (out []metricdata.Metrics) {
	l.t.Helper()
	var all metricdata.ResourceMetrics
	if err := l.reader.Collect(context.Background(), &all); err != nil {
		l.t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		out = append(out, s.Metrics...)
	}
	return out
}

// units are the units of all metrics, by name.
func (l *lab) units() map[string]string {
	l.t.Helper()
	out := map[string]string{}
	for _, m := range l.collect() {
		out[m.Name] = m.Unit
	}
	return out
}

// sums are the sums and counts of all metrics, by name and attributes.
func (l *lab) sums() map[string]float64 {
	l.t.Helper()
	out := map[string]float64{}
	for _, m := range l.collect() {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				out[series(m, p.Attributes)] = float64(p.Value)
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				out[series(m, p.Attributes)] = float64(p.Value)
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				out[series(m, p.Attributes)] = float64(p.Count)
			}
		default:
			l.t.Fatalf("%s is a %T", m.Name, data)
		}
	}
	return out
}

// series is the name of a metric with its attributes.
func series(m metricdata.Metrics, attrs attribute.Set) string {
	return m.Name + " " + attrs.Encoded(attribute.DefaultEncoder())
}
