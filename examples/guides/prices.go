package guides

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// PriceChanged carries the number of the change, which the publisher counts in the product's row.
type PriceChanged struct {
	Product string `json:"product"`
	Version int64  `json:"version"`
	Cents   int64  `json:"cents"`
}

// SetPrice takes changes in any order and any number of times: the one with the highest number stays.
func SetPrice(ctx context.Context, tx pgx.Tx, p PriceChanged) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO prices (product, version, cents) VALUES ($1, $2, $3)
		ON CONFLICT (product) DO UPDATE SET version = excluded.version, cents = excluded.cents
		WHERE prices.version < excluded.version`, p.Product, p.Version, p.Cents)
	return err
}
