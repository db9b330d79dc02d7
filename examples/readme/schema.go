package readme

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// CreateTables creates what is not there yet. It can be called at each start.
func CreateTables(ctx context.Context, pool *pgxpool.Pool) error {
	return queue.Outbox{}.Create(ctx, pool)
}

// PrintSchema prints the statements instead, for a migration tool.
func PrintSchema() error {
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		return err
	}
	fmt.Println(sql)
	return nil
}
