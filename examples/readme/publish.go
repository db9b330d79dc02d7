package readme

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// PlaceOrder writes an order and its message. The commit is the send.
func PlaceOrder(ctx context.Context, pool *pgxpool.Pool, id int) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", id); err != nil {
			return err
		}
		_, err := Placed.Publish(ctx, tx, OrderPlaced{ID: id})
		return err
	})
}

// PlaceOrderSQL is the same through database/sql.
func PlaceOrderSQL(ctx context.Context, db *sql.DB, id int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after the commit
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES ($1)", id); err != nil {
		return err
	}
	if _, err := Placed.Publish(ctx, queue.SQL(tx), OrderPlaced{ID: id}); err != nil {
		return err
	}
	return tx.Commit()
}

// Import publishes many messages at once, to be delivered in an hour, and returns their ids.
func Import(ctx context.Context, tx pgx.Tx, orders []OrderPlaced) ([]int64, error) {
	return Placed.PublishBatch(ctx, tx, orders,
		queue.Headers(map[string]string{"source": "import"}),
		queue.CorrelationID("import-2024-06"),
		queue.Delay(time.Hour),
	)
}

// Announce publishes where there is no transaction to be part of.
func Announce(ctx context.Context, pool *pgxpool.Pool, o OrderPlaced) error {
	_, err := Placed.Publish(ctx, queue.Autocommit(pool), o)
	return err
}
