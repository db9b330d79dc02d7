package otel

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/letterbox-go/letterbox/queue"
)

// Attributes of spans that the conventions have no name for.
const (
	attemptKey    = attribute.Key("letterbox.message.attempt")
	deliveriesKey = attribute.Key("letterbox.message.deliveries")
)

// about are the attributes that all spans of a queue have.
func about(name string, operation attribute.KeyValue) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKey.String(system),
		semconv.MessagingDestinationName(name),
		semconv.MessagingOperationName(operation.Value.AsString()),
		operation,
	}
}

// send is the hook around publishing: the span whose context the messages carry.
func (t *Telemetry) send(ctx context.Context, p queue.Publishing) (map[string]string, func(queue.Published)) {
	if d, ok := queue.FromContext(ctx); ok && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = t.set.propagator.Extract(ctx, carrier{d}) // nobody traces the handler, but its message has a trace
	}
	attrs := about(p.Queue, semconv.MessagingOperationTypeSend)
	if p.Messages > 1 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(p.Messages))
	}
	ctx, span := t.tracer.Start(ctx, "send "+p.Queue, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
	headers := propagation.MapCarrier{}
	t.set.propagator.Inject(ctx, headers)
	return headers, func(p queue.Published) {
		if p.Messages == 1 && len(p.IDs) == 1 {
			span.SetAttributes(semconv.MessagingMessageID(strconv.FormatInt(p.IDs[0], 10)))
		}
		if p.Err != nil {
			fail(span, p.Err, t.set.text)
		}
		span.End()
		t.meters.sent(ctx, p)
	}
}

// process is the middleware of handlers of single messages.
func (t *Telemetry) process(next queue.Handler) queue.Handler {
	return func(ctx context.Context, d *queue.Delivery) (err error) {
		opts := []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(about(d.Queue, semconv.MessagingOperationTypeProcess)...),
			trace.WithAttributes(ofMessage(d)...),
		}
		if t.set.linked {
			opts = append(opts, trace.WithNewRoot(), trace.WithLinks(t.linkTo(d)...))
		}
		ctx = t.set.propagator.Extract(ctx, carrier{d})
		ctx, span := t.tracer.Start(t.Publishing(ctx), "process "+d.Queue, opts...)
		returned := false
		defer func() {
			switch {
			case !returned:
				panicked(span)
			case queue.IsFailure(err):
				fail(span, err, t.set.text)
			}
			span.End()
			t.meters.handling(ctx, d.Queue, -1)
		}()
		t.meters.handling(ctx, d.Queue, 1)
		err = next(ctx, d)
		returned = true
		return err
	}
}

// processBatch is the middleware of handlers of batches: a trace of its own, with a
// link for each message.
func (t *Telemetry) processBatch(next queue.BatchHandler) queue.BatchHandler {
	return func(ctx context.Context, batch []*queue.Delivery) (errs []error) {
		name, n := batch[0].Queue, len(batch)
		var links []trace.Link
		for _, d := range batch {
			links = append(links, t.linkTo(d)...)
		}
		ctx, span := t.tracer.Start(t.Publishing(ctx), "process "+name,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithNewRoot(), trace.WithLinks(links...),
			trace.WithAttributes(about(name, semconv.MessagingOperationTypeProcess)...),
			trace.WithAttributes(semconv.MessagingBatchMessageCount(n)))
		returned := false
		defer func() {
			failed, first := failures(errs)
			switch {
			case !returned:
				panicked(span)
			case failed > 0:
				fail(span, first, func(error) string { return fmt.Sprintf("%d of %d messages failed", failed, n) })
			}
			span.End()
			t.meters.handling(ctx, name, -n)
		}()
		t.meters.handling(ctx, name, n)
		errs = next(ctx, batch)
		returned = true
		return errs
	}
}

// failures counts the failed attempts among outcomes.
func failures(errs []error) (n int, first error) {
	for _, err := range errs {
		if !queue.IsFailure(err) {
			continue
		}
		if n++; first == nil {
			first = err
		}
	}
	return n, first
}

// linkTo is a link to the span in which a message was published, if it has one.
func (t *Telemetry) linkTo(d *queue.Delivery) []trace.Link {
	to := trace.SpanContextFromContext(t.set.propagator.Extract(context.Background(), carrier{d}))
	if !to.IsValid() {
		return nil
	}
	return []trace.Link{{SpanContext: to, Attributes: ofMessage(d)}}
}

// ofMessage are the attributes that tell one message.
func ofMessage(d *queue.Delivery) []attribute.KeyValue {
	attrs := []attribute.KeyValue{
		semconv.MessagingMessageID(strconv.FormatInt(d.ID, 10)),
		attemptKey.Int64(d.Attempt), deliveriesKey.Int64(d.Deliveries),
	}
	if id := d.CorrelationID(); id != "" {
		attrs = append(attrs, semconv.MessagingMessageConversationID(id))
	}
	return attrs
}

// fail marks a span as failed. An error that panics, as one that is a nil pointer
// may, must cost neither the span nor what becomes of the message.
func fail(span trace.Span, err error, text func(error) string) {
	defer func() {
		if recover() != nil {
			span.SetStatus(codes.Error, "(the error could not be rendered)")
		}
	}()
	span.SetAttributes(errorType(err))
	span.SetStatus(codes.Error, text(err))
}

func panicked(span trace.Span) {
	span.SetStatus(codes.Error, "panic")
	span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
}

// errorType is the type of the error below everything that is wrapped around it.
func errorType(err error) attribute.KeyValue {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return semconv.ErrorType(err)
		}
		err = inner
	}
}

// carrier reads the headers of a message.
type carrier struct{ d *queue.Delivery }

func (c carrier) Get(name string) string { return c.d.Header(name) }
func (c carrier) Set(string, string)     {}
func (c carrier) Keys() []string {
	var names []string
	for name := range c.d.Headers() {
		names = append(names, name)
	}
	return names
}
