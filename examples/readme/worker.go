package readme

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// OnPlaced handles a message. Nil acknowledges it, and its row is deleted; after an error it is tried again.
func OnPlaced(ctx context.Context, o OrderPlaced) error {
	fmt.Println("got order", o.ID)
	return nil
}

// Work handles messages until ctx ends, and then drains.
func Work(ctx context.Context, pool *pgxpool.Pool) error {
	worker, err := queue.NewWorker(pool,
		Placed.Handle(OnPlaced, queue.Concurrency(16)), // for this queue
		queue.Lease(2*time.Minute),                     // for all queues that say nothing else
		queue.Grace(20*time.Second),                    // for the worker
	)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

// Ready answers a readiness probe.
func Ready(worker *queue.Worker) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := worker.Health()
		if err := h.Err(); err != nil { // it does not run, or cannot reach a queue
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		for _, q := range h.Queues {
			fmt.Fprintf(w, "%s: listening %t, last claim %s, lag %s\n", q.Queue, q.Listening, q.LastClaim, q.Lag)
		}
	}
}
