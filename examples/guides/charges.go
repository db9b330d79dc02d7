package guides

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/typed"
)

// Charge asks for the money of an order.
type Charge struct {
	Order int64 `json:"order"`
	Cents int64 `json:"cents"`
}

// Charges is its queue.
var Charges = typed.NewQueue[Charge]("charges")

// Shipment has an order sent.
type Shipment struct {
	Order int64 `json:"order"`
}

// Shipments is its queue.
var Shipments = typed.NewQueue[Shipment]("shipments")

// Book is a handler for HandleTx: what it writes and the end of the message are one commit.
func Book(ctx context.Context, tx pgx.Tx, c Charge) error {
	_, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents + $1 WHERE name = 'sales'", c.Cents)
	return err
}

// Service has handlers for Handle, which may get a message more than once.
type Service struct {
	DB  *pgxpool.Pool
	Pay func(ctx context.Context, key string, cents int64) error // the payment provider's API
}

// Confirm tells the second time from the first by the state of the order. What follows from it is one commit with it.
func (s *Service) Confirm(ctx context.Context, c Charge) error {
	return pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE orders SET state = 'confirmed' WHERE id = $1 AND state = 'placed'", c.Order)
		if err != nil || tag.RowsAffected() == 0 {
			return err // nil: it was confirmed before
		}
		_, err = Shipments.Publish(ctx, tx, Shipment{Order: c.Order})
		return err
	})
}

// Count has nothing to tell by, so it writes down what it has done, in the transaction that does it.
func (s *Service) Count(ctx context.Context, c Charge) error {
	return pgx.BeginFunc(ctx, s.DB, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "INSERT INTO counted (key) VALUES ($1) ON CONFLICT DO NOTHING", fmt.Sprint("charge-", c.Order))
		if err != nil || tag.RowsAffected() == 0 {
			return err // nil: it was counted before
		}
		_, err = tx.Exec(ctx, "UPDATE accounts SET cents = cents + $1 WHERE name = 'sales'", c.Cents)
		return err
	})
}

// Collect calls out. The provider tells the second call from the first by a key, which is the same for each attempt.
func (s *Service) Collect(ctx context.Context, c Charge) error {
	return s.Pay(ctx, fmt.Sprint("charge-", c.Order), c.Cents)
}
