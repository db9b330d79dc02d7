package orders

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schemaSQL = `
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.orders (
	id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	item     text NOT NULL,
	quantity int NOT NULL,
	email    text NOT NULL,
	state    text NOT NULL
);

CREATE TABLE IF NOT EXISTS shop.stock (
	item   text PRIMARY KEY,
	pieces int NOT NULL CHECK (pieces >= 0)
);

INSERT INTO shop.stock VALUES ('tea', 1000), ('teapot', 3) ON CONFLICT DO NOTHING;`

// Migrate creates the schema "shop" with the domain's tables, and the outbox beside them, where they are not there yet.
// Processes that start together take turns. A larger service would do this with its migration tool, to which
// [queue.Outbox.Migrations] gives the files for the outbox.
func Migrate(ctx context.Context, db *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('letterbox example shop'))"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, schemaSQL); err != nil {
			return err
		}
		return Outbox.Create(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("migrate the shop: %w", err)
	}
	return nil
}
