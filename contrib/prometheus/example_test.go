package prometheus_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/letterbox-go/letterbox/contrib/prometheus"
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

	metrics := prometheus.New()
	registry := client.NewRegistry()
	registry.MustRegister(metrics)

	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return PlaceOrder(ctx, tx, metrics) })
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := NewWorker(pool, metrics, func(context.Context, *queue.Delivery) error {
		stop()
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(w.Run(ctx))

	// What Prometheus reads.
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "letterbox_published_messages_total") || strings.Contains(line, `_total{outcome="acked"`) {
			fmt.Print(line)
		}
	}
	// Output:
	// <nil>
	// letterbox_handled_messages_total{outcome="acked",queue="orders"} 1
	// letterbox_published_messages_total{outcome="ok",queue="orders"} 1
}
