package readme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
)

// LookAndReplay shows what failed, mends it, and gives it back to its queue.
func LookAndReplay(ctx context.Context, pool *pgxpool.Pool) error {
	dead := Placed.DeadLetters()
	letters, err := dead.List(ctx, pool, dlq.Filter{Reason: queue.ReasonRetryTerminal}, dlq.Page{})
	if err != nil {
		return err
	}
	for _, l := range letters {
		fmt.Println(l.ID, l.Value, l.Error)
	}
	done, err := dead.ReplayAll(ctx, pool, dlq.Filter{}, dead.Fix(func(o OrderPlaced) (OrderPlaced, error) {
		o.ID = max(o.ID, 1)
		return o, nil
	}), dlq.Rate(100))
	fmt.Println("moved:", done.Moved)
	return err
}
