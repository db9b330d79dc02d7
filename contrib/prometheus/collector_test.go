package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"
	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/letterbox-go/letterbox/contrib/prometheus"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

var (
	orders   = queue.New("orders")
	invoices = queue.New("invoices")
)

// endpoint is a collector's, as Prometheus reads it.
func endpoint(t *testing.T, c *prometheus.Collector) string {
	t.Helper()
	registry := client.NewPedanticRegistry() // which refuses what is not as described
	registry.MustRegister(c)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	t.Cleanup(server.Close)
	return server.URL
}

func newDB(t *testing.T) *pgxpool.Pool {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(schema)).Pool
}

// run runs a worker until the outbox is empty, and stops it.
func run(t *testing.T, pool *pgxpool.Pool, opts ...queue.WorkerOption) {
	t.Helper()
	w, err := queue.NewWorker(pool, append(opts, queue.Logger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for left := 1; left > 0; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("the outbox is never empty")
		}
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox").Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil { // the last events are told then
		t.Fatal(err)
	}
}

// onOrder publishes an invoice for most orders.
func onOrder(pool *pgxpool.Pool) queue.Handler {
	return func(ctx context.Context, d *queue.Delivery) error {
		switch {
		case string(d.Payload) == "fails once" && d.Attempt == 1:
			return errors.New("not yet")
		case string(d.Payload) == "fails for good":
			return queue.Permanent(errors.New("never"))
		}
		_, err := invoices.Publish(ctx, queue.Autocommit(pool), d.Payload)
		return err
	}
}

func onInvoices(_ context.Context, batch []*queue.Delivery) []error { return make([]error, len(batch)) }

// live is a collector that has seen a real run, and has another worker, which listens.
func live(t *testing.T, opts ...prometheus.Option) *prometheus.Collector {
	t.Helper()
	is := is.New(t)
	pool, metrics := newDB(t), prometheus.New(opts...)
	ctx := metrics.Publishing(t.Context())
	for _, payload := range []string{"fine", "fine, too", "fails once", "fails for good"} {
		_, err := orders.Publish(ctx, queue.Autocommit(pool), []byte(payload))
		is.NoErr(err)
	}
	_, err := orders.Publish(ctx, nil, []byte("nowhere"))
	is.True(errors.Is(err, queue.ErrNoTransaction))
	run(t, pool, metrics.Worker(),
		orders.Handle(onOrder(pool), queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 3})),
		invoices.HandleBatch(onInvoices))
	metrics.Observer().Listening(queue.Listening{Outbox: `"outbox"`, Up: true})
	return metrics
}

func get(t *testing.T, url string) string {
	t.Helper()
	is := is.New(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	is.NoErr(err)
	resp, err := http.DefaultClient.Do(r)
	is.NoErr(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	is.NoErr(err)
	is.Equal(resp.StatusCode, http.StatusOK)
	return string(body)
}

func TestEndpoint_PassesPromlintAfterARun(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	url := endpoint(t, live(t))
	problems, err := promlint.New(strings.NewReader(get(t, url))).Lint()
	is.NoErr(err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEndpoint_CountsARun(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	url := endpoint(t, live(t))
	is.NoErr(testutil.ScrapeAndCompare(url, strings.NewReader(`
# HELP letterbox_dead_letters_total Dead letters that were written; those of an error are tried again.
# TYPE letterbox_dead_letters_total counter
letterbox_dead_letters_total{outcome="error",queue="invoices"} 0
letterbox_dead_letters_total{outcome="error",queue="orders"} 0
letterbox_dead_letters_total{outcome="ok",queue="invoices"} 0
letterbox_dead_letters_total{outcome="ok",queue="orders"} 1
# HELP letterbox_dispatched_messages_total Messages that were given to a handler.
# TYPE letterbox_dispatched_messages_total counter
letterbox_dispatched_messages_total{queue="invoices"} 3
letterbox_dispatched_messages_total{queue="orders"} 5
# HELP letterbox_drain_timeouts_total Grace periods that ended while handlers ran.
# TYPE letterbox_drain_timeouts_total counter
letterbox_drain_timeouts_total 0
# HELP letterbox_dropped_events_total Events that these metrics have missed, for they came too fast.
# TYPE letterbox_dropped_events_total counter
letterbox_dropped_events_total 0
# HELP letterbox_fetched_messages_total Messages that were claimed.
# TYPE letterbox_fetched_messages_total counter
letterbox_fetched_messages_total{queue="invoices"} 3
letterbox_fetched_messages_total{queue="orders"} 5
# HELP letterbox_handled_messages_total Messages that were handled, by what was decided about them.
# TYPE letterbox_handled_messages_total counter
letterbox_handled_messages_total{outcome="acked",queue="invoices"} 3
letterbox_handled_messages_total{outcome="acked",queue="orders"} 3
letterbox_handled_messages_total{outcome="discarded",queue="invoices"} 0
letterbox_handled_messages_total{outcome="discarded",queue="orders"} 0
letterbox_handled_messages_total{outcome="released",queue="invoices"} 0
letterbox_handled_messages_total{outcome="released",queue="orders"} 0
letterbox_handled_messages_total{outcome="retried",queue="invoices"} 0
letterbox_handled_messages_total{outcome="retried",queue="orders"} 1
letterbox_handled_messages_total{outcome="snoozed",queue="invoices"} 0
letterbox_handled_messages_total{outcome="snoozed",queue="orders"} 0
letterbox_handled_messages_total{outcome="terminal",queue="invoices"} 0
letterbox_handled_messages_total{outcome="terminal",queue="orders"} 1
# HELP letterbox_leases_lost_total Messages that may have gone to another worker while this one had them.
# TYPE letterbox_leases_lost_total counter
letterbox_leases_lost_total{queue="invoices"} 0
letterbox_leases_lost_total{queue="orders"} 0
# HELP letterbox_listening Whether notifications come in: 1, or 0 where at least one worker has to poll an outbox.
# TYPE letterbox_listening gauge
letterbox_listening 1
# HELP letterbox_messages_in_progress Messages that are being handled now.
# TYPE letterbox_messages_in_progress gauge
letterbox_messages_in_progress{queue="invoices"} 0
letterbox_messages_in_progress{queue="orders"} 0
# HELP letterbox_published_messages_total Messages that were published, perhaps in transactions that did not commit, and those that could not be.
# TYPE letterbox_published_messages_total counter
letterbox_published_messages_total{outcome="error",queue="orders"} 1
letterbox_published_messages_total{outcome="ok",queue="invoices"} 3
letterbox_published_messages_total{outcome="ok",queue="orders"} 4
# HELP letterbox_settled_messages_total Outcomes that were sent to the database; those of an error are sent again.
# TYPE letterbox_settled_messages_total counter
letterbox_settled_messages_total{outcome="error",queue="invoices"} 0
letterbox_settled_messages_total{outcome="error",queue="orders"} 0
letterbox_settled_messages_total{outcome="ok",queue="invoices"} 3
letterbox_settled_messages_total{outcome="ok",queue="orders"} 4
# HELP letterbox_terminal_messages_total Messages that failed for good, by the reason of their dead letters.
# TYPE letterbox_terminal_messages_total counter
letterbox_terminal_messages_total{queue="invoices",reason="decode_error"} 0
letterbox_terminal_messages_total{queue="invoices",reason="max_deliveries"} 0
letterbox_terminal_messages_total{queue="invoices",reason="rejected"} 0
letterbox_terminal_messages_total{queue="invoices",reason="retry_terminal"} 0
letterbox_terminal_messages_total{queue="orders",reason="decode_error"} 0
letterbox_terminal_messages_total{queue="orders",reason="max_deliveries"} 0
letterbox_terminal_messages_total{queue="orders",reason="rejected"} 0
letterbox_terminal_messages_total{queue="orders",reason="retry_terminal"} 1
`),
		"letterbox_dead_letters_total", "letterbox_dispatched_messages_total", "letterbox_drain_timeouts_total",
		"letterbox_dropped_events_total", "letterbox_fetched_messages_total", "letterbox_handled_messages_total",
		"letterbox_leases_lost_total", "letterbox_listening", "letterbox_messages_in_progress",
		"letterbox_published_messages_total", "letterbox_settled_messages_total", "letterbox_terminal_messages_total"))
	body := get(t, url)
	for _, line := range []string{
		`letterbox_queue_lag_seconds_count{queue="orders"} 5`,
		`letterbox_queue_lag_seconds_count{queue="invoices"} 3`,
		`letterbox_handler_duration_seconds_count{outcome="acked",queue="orders"} 3`,
		`letterbox_handler_duration_seconds_count{outcome="retried",queue="orders"} 1`,
		`letterbox_publish_duration_seconds_count{queue="orders"} 5`,
		`letterbox_queue_lag_seconds_bucket{queue="orders",le="86400"} 5`,
	} {
		is.True(strings.Contains(body, line+"\n"))
	}
}

func TestListening_IsThatOfTheWorstWorker(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	metrics := prometheus.New()
	url := endpoint(t, metrics)
	a, b := metrics.Observer(), metrics.Observer()
	for _, step := range []struct {
		worker queue.Observer
		event  queue.Listening
		want   string
	}{
		{a, queue.Listening{Outbox: "x"}, "0"},
		{b, queue.Listening{Outbox: "x", Up: true}, "0"}, // one that can does not hide one that cannot
		{a, queue.Listening{Outbox: "x", Up: true}, "1"},
		{a, queue.Listening{Outbox: "y"}, "0"},
		{a, queue.Listening{Outbox: "y", Ended: true}, "1"},
		{a, queue.Listening{Outbox: "x"}, "0"},
		{a, queue.Listening{Outbox: "x", Ended: true}, "1"}, // one that has ended does not count
		{b, queue.Listening{Outbox: "x", Ended: true}, ""},
		{b, queue.Listening{Outbox: "x", Up: true}, "1"}, // it runs again
	} {
		step.worker.Listening(step.event)
		is.Equal(listening(t, url), step.want)
	}
}

func TestListening_OutlivesTheEndOfOneOfTwoWorkers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	pool, metrics := newDB(t), prometheus.New()
	url := endpoint(t, metrics)
	told := make(chan queue.Listening, 10) // more than there are
	start := func(name string) (stop func()) {
		w, err := queue.NewWorker(pool, metrics.Worker(), queue.Logger(slog.New(slog.DiscardHandler)),
			queue.Observe(queue.Observer{Listening: func(e queue.Listening) { told <- e }}),
			queue.New(name).HandleBatch(onInvoices))
		is.NoErr(err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		is.True((<-told).Up)
		return sync.OnceFunc(func() {
			cancel()
			is.NoErr(<-ended) // the last events are told then
		})
	}
	stopA := start("a")
	defer stopA()
	stopB := start("b")
	defer stopB()
	stopA()
	for late := time.After(20 * time.Second); listening(t, url) != "1"; { // b's event may still be under way
		select {
		case <-late:
			t.Fatal("b does not listen")
		default:
		}
	}
	stopB()
	is.Equal(listening(t, url), "")
}

// listening is the value of the gauge; "" where there is none.
func listening(t *testing.T, url string) string {
	t.Helper()
	for line := range strings.Lines(get(t, url)) {
		if value, ok := strings.CutPrefix(line, "letterbox_listening "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestLabels_AreOnEveryMetric(t *testing.T) {
	t.Parallel()
	url := endpoint(t, live(t, prometheus.Labels(map[string]string{"outbox": "main"}), prometheus.Buckets(time.Second), prometheus.LagBuckets(time.Minute)))
	for line := range strings.Lines(get(t, url)) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, `outbox="main"`) {
			t.Error(line)
		}
		if strings.Contains(line, "le=") && !strings.Contains(line, `le="1"`) && !strings.Contains(line, `le="60"`) && !strings.Contains(line, `le="+Inf"`) {
			t.Error(line)
		}
	}
}

func TestInProgress_FollowsCallsOfHandlers(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	pool, metrics := newDB(t), prometheus.New()
	url := endpoint(t, metrics)
	for range 3 {
		_, err := invoices.Publish(t.Context(), queue.Autocommit(pool), []byte("1"))
		is.NoErr(err)
	}
	seen := make(chan string, 1)
	run(t, pool, metrics.Worker(), invoices.HandleBatch(func(_ context.Context, batch []*queue.Delivery) []error {
		select {
		case seen <- fmt.Sprintf("letterbox_messages_in_progress{queue=\"invoices\"} %d\n", len(batch)) + get(t, url):
		default:
		}
		return make([]error, len(batch))
	}))
	want, body, _ := strings.Cut(<-seen, "\n")
	is.True(strings.Contains(body, want+"\n"))
}
