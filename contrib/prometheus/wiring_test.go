package prometheus_test

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/contrib/prometheus"
	"github.com/letterbox-go/letterbox/queue"
)

// NewWorker makes a worker that is measured, and so is what its handlers publish.
func NewWorker(pool *pgxpool.Pool, metrics *prometheus.Collector, h queue.Handler) (*queue.Worker, error) {
	return queue.NewWorker(pool, metrics.Worker(), orders.Handle(h))
}

// PlaceOrder publishes, and is measured.
func PlaceOrder(ctx context.Context, tx pgx.Tx, metrics *prometheus.Collector) error {
	_, err := orders.Publish(metrics.Publishing(ctx), tx, []byte("order 1"))
	return err
}
