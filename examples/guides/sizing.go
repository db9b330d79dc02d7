package guides

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// Branch is what the work is done by.
type Branch interface {
	Deliver(context.Context, DeliveryV2) error
	Print(text []byte) error
}

// Sized is a worker for three kinds of work.
func Sized(pool *pgxpool.Pool, s *Service, b Branch) (*queue.Worker, error) {
	return queue.NewWorker(pool,
		// Calls an API for 200 ms, 50 times a second at most: 10 would do, and 16 leave room for a slow hour.
		Charges.Handle(s.Collect, queue.Concurrency(16), queue.Timeout(10*time.Second)),
		// Each call holds a connection of the pool while it runs.
		Reports.HandleTx(PrintReport(b.Print), queue.Concurrency(4)),
		// Takes minutes each: none are claimed ahead, so that other workers get them. Leases are extended meanwhile.
		DeliveriesV2.Handle(b.Deliver, queue.Concurrency(2), queue.Prefetch(0), queue.Lease(30*time.Second)),
		queue.Grace(20*time.Second),
	)
}

// OpenPool opens a pool for handlers.
func OpenPool(ctx context.Context, dsn string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the DSN: %w", err)
	}
	config.MaxConns = 4 + 4 // transactions of reports, and what other handlers use beside
	config.ConnConfig.RuntimeParams["application_name"] = "letterbox-worker"
	return pgxpool.NewWithConfig(ctx, config)
}

// ThroughPgBouncer makes a worker whose LISTEN goes straight to the server. Its pool goes through PgBouncer, and keeps no
// prepared statements: default_query_exec_mode=exec is in its URL.
func ThroughPgBouncer(pool *pgxpool.Pool, direct string, subs queue.Subscriptions) (*queue.Worker, error) {
	listen, err := pgx.ParseConfig(direct)
	if err != nil {
		return nil, fmt.Errorf("read the URL of the server: %w", err)
	}
	return queue.NewWorker(pool, subs, queue.ListenOn(listen))
}
