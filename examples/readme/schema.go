package readme

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
)

// CreateTables creates what is not there yet. It can be called at each start.
func CreateTables(ctx context.Context, pool *pgxpool.Pool) error {
	return queue.Outbox{}.Create(ctx, pool)
}

// WriteMigration writes the first migration for goose, as number 12 of the folder.
func WriteMigration(folder string) error {
	all, err := queue.Outbox{}.Migrations()
	if err != nil {
		return err
	}
	files, err := all[0].Files(queue.Goose, 12)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), []byte(f.Content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// CheckTables compares the tables with what is needed; the error lists every difference.
func CheckTables(ctx context.Context, pool *pgxpool.Pool) error {
	warnings, err := queue.Outbox{}.Warnings(ctx, pool)
	if err != nil {
		return err
	}
	for _, w := range warnings { // autovacuum settings, privileges
		slog.Warn("outbox", "schema", w)
	}
	return queue.Outbox{}.Validate(ctx, pool)
}
