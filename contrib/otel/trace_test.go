package otel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/letterbox-go/letterbox/contrib/otel"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
)

func TestTrace_GoesFromARequestThroughAHandlerToAChainedPublish(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		err := pgx.BeginFunc(r.Context(), l.pool, func(tx pgx.Tx) error {
			_, err := orders.Publish(r.Context(), tx, []byte("1"), queue.CorrelationID("story"))
			return err
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := httptest.NewServer(otelhttp.NewHandler(l.Handler(mux), "server", otelhttp.WithTracerProvider(l.tracer)))
	defer server.Close()
	stop := l.start(
		orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
			_, err := invoices.Publish(ctx, tx, d.Payload)
			return err
		}),
		invoices.Handle(func(context.Context, *queue.Delivery) error { return nil }))

	resp, err := http.Post(server.URL+"/orders", "text/plain", nil)
	is.NoErr(err)
	is.NoErr(resp.Body.Close())
	is.Equal(resp.StatusCode, http.StatusOK)
	l.untilEmpty()
	stop()

	var request tracetest.SpanStub
	for _, s := range l.spans.GetSpans() {
		if s.SpanKind == trace.SpanKindServer {
			request = s
		}
	}
	chain := []tracetest.SpanStub{request, l.span("send orders"), l.span("process orders"), l.span("send invoices"), l.span("process invoices")}
	is.Equal(len(l.spans.GetSpans()), len(chain))
	is.True(!request.Parent.IsValid())
	for i, s := range chain[1:] {
		is.Equal(s.SpanContext.TraceID(), request.SpanContext.TraceID()) // one trace
		is.Equal(s.Parent.SpanID(), chain[i].SpanContext.SpanID())       // each the child of the one before
		is.Equal(s.Status.Code, codes.Unset)
	}
	is.Equal(chain[1].SpanKind, trace.SpanKindProducer)
	is.Equal(chain[2].SpanKind, trace.SpanKindConsumer)
	is.True(chain[2].Parent.IsRemote())
	is.Equal(attributes(chain[1].Attributes), map[string]string{
		"messaging.system": "letterbox", "messaging.destination.name": "orders",
		"messaging.operation.name": "send", "messaging.operation.type": "send", "messaging.message.id": "1",
	})
	is.Equal(attributes(chain[2].Attributes), map[string]string{
		"messaging.system": "letterbox", "messaging.destination.name": "orders",
		"messaging.operation.name": "process", "messaging.operation.type": "process", "messaging.message.id": "1",
		"messaging.message.conversation_id": "story", "letterbox.message.attempt": "1", "letterbox.message.deliveries": "1",
	})
	is.Equal(attributes(chain[4].Attributes)["messaging.message.conversation_id"], "story")
}

func TestTrace_EachAttemptIsASpanAndAFailureIsAnError(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t, otel.ErrorText(func(error) string { return "(redacted)" }))
	ctx := l.Publishing(t.Context())
	_, err := orders.Publish(ctx, queue.Autocommit(l.pool), []byte("1"))
	is.NoErr(err)
	stop := l.start(orders.Handle(func(_ context.Context, d *queue.Delivery) error {
		switch d.Attempt {
		case 1:
			return fmt.Errorf("charge the card: %w", context.DeadlineExceeded)
		case 2:
			panic("oh")
		}
		return queue.Discard("a test")
	}, queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 5})))
	l.untilEmpty()
	stop()
	sent, attempts := l.span("send orders"), l.all("process orders")
	is.Equal(len(attempts), 3)
	for i, s := range attempts {
		is.Equal(s.Parent.SpanID(), sent.SpanContext.SpanID())
		is.Equal(attributes(s.Attributes)["letterbox.message.attempt"], strconv.Itoa(i+1))
	}
	is.Equal(attempts[0].Status.Code, codes.Error)
	is.Equal(attempts[0].Status.Description, "(redacted)")
	is.Equal(attributes(attempts[0].Attributes)["error.type"], "context.deadlineExceededError")
	is.Equal(attempts[1].Status.Code, codes.Error)
	is.Equal(attributes(attempts[1].Attributes)["error.type"], "panic")
	is.Equal(attempts[2].Status.Code, codes.Unset) // to discard is no failure
}

// typedNil is an error that panics when it is asked what it says.
type typedNil struct{ text string }

func (e *typedNil) Error() string { return e.text }

func TestTrace_AnErrorThatPanicsCostsNoSpan(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	_, err := orders.Publish(l.Publishing(t.Context()), queue.Autocommit(l.pool), []byte("1"))
	is.NoErr(err)
	stop := l.start(orders.Handle(func(context.Context, *queue.Delivery) error {
		var none *typedNil
		return queue.Permanent(none)
	}))
	l.untilEmpty()
	stop()
	s := l.span("process orders")
	is.Equal(s.Status.Code, codes.Error)
	is.Equal(s.Status.Description, "(the error could not be rendered)")
	is.Equal(attributes(s.Attributes)["error.type"], "*otel_test.typedNil")
	inProgress, counted := l.sums()["letterbox.messages.in_progress messaging.destination.name=orders"]
	is.True(counted)
	is.Equal(inProgress, 0.0)
}

func TestTrace_ABatchIsATraceOfItsOwnWithLinks(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string]func(h queue.BatchHandler) queue.Subscription{
		"batch": func(h queue.BatchHandler) queue.Subscription { return orders.HandleBatch(h) },
		"batch tx": func(h queue.BatchHandler) queue.Subscription {
			return orders.HandleBatchTx(func(ctx context.Context, _ pgx.Tx, batch []*queue.Delivery) []error { return h(ctx, batch) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			l := newLab(t)
			ctx := l.Publishing(t.Context())
			ids, err := queue.Publish(ctx, queue.Autocommit(l.pool), orders.Draft([]byte("1")), orders.Draft([]byte("2")))
			is.NoErr(err)
			_, err = orders.Publish(t.Context(), queue.Autocommit(l.pool), []byte("of nobody who traces"))
			is.NoErr(err)
			stop := l.start(batch(func(ctx context.Context, batch []*queue.Delivery) []error {
				_, err := invoices.Publish(ctx, queue.Autocommit(l.pool), []byte("of all"))
				return append(make([]error, len(batch)-1), err)
			}), invoices.Handle(func(context.Context, *queue.Delivery) error { return nil }))
			l.untilEmpty()
			stop()
			sent, handled := l.span("send orders"), l.span("process orders")
			is.Equal(attributes(sent.Attributes)["messaging.batch.message_count"], "2")
			is.Equal(attributes(handled.Attributes)["messaging.batch.message_count"], "3")
			is.True(!handled.Parent.IsValid())
			is.Equal(len(handled.Links), 2) // the third came without
			for i, link := range handled.Links {
				is.Equal(link.SpanContext.SpanID(), sent.SpanContext.SpanID())
				is.Equal(attributes(link.Attributes)["messaging.message.id"], strconv.FormatInt(ids[i], 10))
			}
			is.Equal(l.span("send invoices").Parent.SpanID(), handled.SpanContext.SpanID())
		})
	}
}

func TestTrace_OfABatchSaysHowManyFailed(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	_, err := queue.Publish(t.Context(), queue.Autocommit(l.pool), orders.Draft([]byte("1")), orders.Draft([]byte("2")))
	is.NoErr(err)
	stop := l.start(orders.HandleBatch(func(_ context.Context, batch []*queue.Delivery) []error {
		out := make([]error, len(batch))
		for i, d := range batch {
			if string(d.Payload) == "2" {
				out[i] = queue.Permanent(errors.New("never"))
			}
		}
		return out
	}))
	l.untilEmpty()
	stop()
	s := l.span("process orders")
	is.Equal(s.Status.Code, codes.Error)
	is.Equal(s.Status.Description, "1 of 2 messages failed")
	is.Equal(attributes(s.Attributes)["error.type"], "*errors.errorString")
}

func TestTrace_LinkedBeginsATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t, otel.Linked())
	_, err := timers.ScheduleAfter(l.Publishing(t.Context()), queue.Autocommit(l.pool), "remind", 0, orders.Draft([]byte("1")))
	is.NoErr(err)
	stop := l.start(orders.Handle(func(context.Context, *queue.Delivery) error { return nil }))
	l.untilEmpty()
	stop()
	sent, handled := l.span("send orders"), l.span("process orders") // timers are published, too
	is.True(!handled.Parent.IsValid())
	is.True(handled.SpanContext.TraceID() != sent.SpanContext.TraceID())
	is.Equal(len(handled.Links), 1)
	is.Equal(handled.Links[0].SpanContext.SpanID(), sent.SpanContext.SpanID())
}

func TestTrace_OfTheCallerHolds(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	const own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	_, err := orders.Publish(l.Publishing(t.Context()), queue.Autocommit(l.pool), []byte("1"), queue.Headers(map[string]string{"traceparent": own}))
	is.NoErr(err)
	stop := l.start(orders.Handle(func(context.Context, *queue.Delivery) error { return nil }))
	l.untilEmpty()
	stop()
	is.Equal(l.span("process orders").SpanContext.TraceID().String(), "0af7651916cd43dd8448eb211c80319c")
}

func TestTrace_OfAPublishThatFails(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	_, err := orders.Publish(l.Publishing(t.Context()), nil, []byte("1"))
	is.True(errors.Is(err, queue.ErrNoTransaction))
	s := l.span("send orders")
	is.Equal(s.Status.Code, codes.Error)
	is.Equal(s.Status.Description, err.Error())
}

// A worker without the option still carries the trace on, and a publish of its
// handlers that is traced finds it.
func TestTrace_IsFoundInTheMessageWhereNobodyTracesItsHandler(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	_, err := orders.Publish(l.Publishing(t.Context()), queue.Autocommit(l.pool), []byte("1"))
	is.NoErr(err)
	ctx, cancel := context.WithCancel(l.Publishing(context.Background()))
	defer cancel()
	w, err := queue.NewWorker(l.pool, orders.HandleTx(func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
		defer cancel()
		_, err := invoices.Publish(ctx, tx, d.Payload)
		return err
	}))
	is.NoErr(err)
	is.NoErr(w.Run(ctx))
	is.Equal(l.span("send invoices").Parent.SpanID(), l.span("send orders").SpanContext.SpanID())
}
