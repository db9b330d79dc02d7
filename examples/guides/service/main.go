// Service is a worker as it runs in Kubernetes: it handles messages until SIGTERM, drains, and ends. docs/deploying.md has
// the deployment that goes with it.
//
//	DATABASE_URL=postgres://... go run ./examples/guides/service
package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/examples/guides"
	"github.com/letterbox-go/letterbox/queue"
)

// grace is how long handlers may go on after SIGTERM. With the 5 s that Run takes at most beyond it, and some for the
// process to start and end, it stays below terminationGracePeriodSeconds.
const grace = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	probes, err := net.Listen("tcp", ":8080")
	if err == nil {
		err = run(ctx, os.Getenv("DATABASE_URL"), probes)
	}
	if err != nil {
		slog.Error("the worker ends", slog.Any("error", err))
		os.Exit(1)
	}
}

// run handles messages until ctx ends, and drains. Until it has done so it answers probes.
func run(ctx context.Context, dsn string, probes net.Listener) error {
	server := &http.Server{ReadHeaderTimeout: time.Second}
	defer server.Close()
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	worker, err := queue.NewWorker(pool, guides.Charges.HandleTx(guides.Book), queue.Grace(grace))
	if err != nil {
		return err
	}
	server.Handler = answer(worker)
	go func() { _ = server.Serve(probes) }()
	return worker.Run(ctx)
}

// answer answers the probes. Alive is any process that answers: a database that is away is no reason to be killed. Ready is
// a worker that runs and has reached its queues; asking it asks the database nothing.
func answer(worker *queue.Worker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := worker.Health().Err(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return mux
}
