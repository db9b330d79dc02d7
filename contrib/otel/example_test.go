package otel_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/letterbox-go/letterbox/contrib/otel"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, done := pgtest.Open(ctx, schema)
	defer done()

	spans := tracetest.NewInMemoryExporter() // in a service: an exporter to a collector
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	telemetry := otel.New(otel.TracerProvider(tracer))

	// In a service, telemetry.Handler does this for each request.
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := orders.Publish(telemetry.Publishing(ctx), tx, []byte("order 1"))
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := queue.NewWorker(pool, telemetry.Worker(), queue.Logger(slog.New(slog.DiscardHandler)),
		orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_, err := invoices.Publish(ctx, tx, d.Payload) // in the same trace
			return err
		}),
		invoices.Handle(func(context.Context, *queue.Delivery) error {
			stop()
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Run(ctx))
	trace := spans.GetSpans()[0].SpanContext.TraceID()
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name, s.SpanContext.TraceID() == trace)
	}
	// Unordered output:
	// <nil>
	// send orders true
	// send invoices true
	// process orders true
	// process invoices true
}
