package readme

import (
	"context"
	"fmt"
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
