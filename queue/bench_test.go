package queue

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/store"
)

var benchPayload = []byte(`{"order":12345,"customer":"somebody in particular","note":"a message of about a hundred bytes"}`)

// obliging is a transaction whose server costs nothing: it takes what it is given
// and makes up ids.
type obliging struct {
	pgx.Tx
	ids string // of as many messages as come at once
}

func (o obliging) QueryRow(context.Context, string, ...any) pgx.Row { return o }

func (o obliging) Scan(into ...any) error {
	switch id := into[0].(type) {
	case *int64:
		*id = 1
	case *string:
		*id = o.ids
	default:
		return fmt.Errorf("cannot scan into %T", id)
	}
	return nil
}

// BenchmarkPublish is what a message costs from the draft to the arguments of
// the statement.
func BenchmarkPublish(b *testing.B) {
	q := New("orders")
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			tx := obliging{ids: strings.TrimSuffix(strings.Repeat("1,", n), ",")}
			drafts := make([]Draft, n)
			for i := range drafts {
				drafts[i] = q.Draft(benchPayload)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Publish(b.Context(), tx, drafts...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkDispatch is what a claimed message costs between the engine and the
// handler, and back.
func BenchmarkDispatch(b *testing.B) {
	rows := make([]store.Claimed, 1000)
	for i := range rows {
		rows[i] = store.Claimed{
			Lease: store.Lease{ID: int64(i)}, Queue: "orders", Payload: benchPayload, Deliveries: 1,
			Headers: []byte(`{"content-type": "application/json", "correlation_id": "0d3b2a52-3f0e-4e53-9a3c-0d8f5f6b7a11"}`),
		}
	}
	sees := func(d *Delivery) {
		if d.ContentType() != "application/json" {
			b.Error("wrong content type")
		}
	}
	q := New("orders")
	each := q.Handle(func(_ context.Context, d *Delivery) error { sees(d); return nil })
	batch := q.HandleBatch(func(_ context.Context, batch []*Delivery) []error {
		for _, d := range batch {
			sees(d)
		}
		return make([]error, len(batch))
	})
	for _, bm := range []struct {
		name string
		sub  Subscription
		n    int
	}{{"form=each", each, 1}, {"form=batch/batch=100", batch, 100}, {"form=batch/batch=1000", batch, 1000}} {
		b.Run(bm.name, func(b *testing.B) {
			p := processorOf(b, bm.sub)
			process := p.process
			if p.batch != nil {
				process = p.processBatch
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, o := range process(b.Context(), rows[:bm.n]) {
					if o.Kind != store.Ack {
						b.Fatal(o)
					}
				}
			}
			b.ReportMetric(float64(bm.n)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// BenchmarkObserve is what telling costs a message, where nobody observes and where
// somebody does.
func BenchmarkObserve(b *testing.B) {
	q := New("orders")
	rows := []store.Claimed{{Lease: store.Lease{ID: 1}, Queue: "orders", Payload: benchPayload, Deliveries: 1}}
	for _, bm := range []struct {
		name      string
		observers []Observer
	}{
		{"observers=0", nil},
		{"observers=1", []Observer{{Dispatched: func(Dispatched) {}, Handled: func(Handled) {}}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			ws := watch(bm.observers, slog.New(slog.DiscardHandler))
			defer ws.close()
			p := processorOf(b, q.Handle(func(context.Context, *Delivery) error { return nil }))
			process := ws.of("outbox").process("orders", p.process)
			b.ReportAllocs()
			for b.Loop() {
				process(b.Context(), rows)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

func processorOf(b *testing.B, s Subscription) *processor {
	b.Helper()
	w, err := NewWorker(new(pgxpool.Pool), s)
	if err != nil {
		b.Fatal(err)
	}
	return newProcessor(w.subs[0], nil, slog.New(slog.DiscardHandler))
}
