package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// turnSQL makes those who migrate at the same time take turns: CREATE ... IF NOT
// EXISTS alone fails when two of them race.
const turnSQL = `SELECT pg_advisory_xact_lock(hashtextextended('letterbox schema', 0))`

// Migrate runs in tx the migrations of which something is missing, and returns
// what is there now that was not, and how things stand. Where nothing is missing
// it only reads: CREATE INDEX IF NOT EXISTS locks out writers before it looks.
func (t *Table) Migrate(ctx context.Context, tx pgx.Tx) (made []Difference, now *Report, err error) {
	now, err = t.Inspect(ctx, tx)
	if err != nil || len(now.pending) == 0 || !now.place {
		return nil, now, err
	}
	if _, err := tx.Exec(ctx, turnSQL); err != nil {
		return nil, nil, err
	}
	before, err := t.Inspect(ctx, tx) // somebody may have been faster
	if err != nil {
		return nil, nil, err
	}
	for _, m := range t.migrations(before.outbox, before.letters) {
		if !before.pending[m.Version] {
			continue
		}
		// The simple protocol takes several statements at once.
		if _, err := tx.Exec(ctx, m.Up, pgx.QueryExecModeSimpleProtocol); err != nil {
			return nil, nil, err
		}
	}
	if now, err = t.Inspect(ctx, tx); err != nil {
		return nil, nil, err
	}
	for _, d := range before.Differences {
		if !slices.ContainsFunc(now.Differences, d.same) {
			made = append(made, d)
		}
	}
	return made, now, nil
}

// same reports whether two differences are about the same thing, which may have
// got a schema meanwhile.
func (d Difference) same(other Difference) bool {
	return d.of == other.of && d.Part == other.Part && d.Name == other.Name
}
