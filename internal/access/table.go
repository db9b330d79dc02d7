package access

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// In is a table as db works on it, which says by its type whether it is SQL's or one
// in memory.
func In(db postgres.Rower, t *postgres.Table) store.Outbox {
	if v, ok := inMemory(db, t); ok {
		return v
	}
	return t.In(db)
}

// On is the dead letters of a table, likewise.
func On(db postgres.Querier, t *postgres.Table) store.Letters {
	if v, ok := inMemory(db, t); ok {
		return v
	}
	return t.On(db)
}

// Publish writes drafts of one table in tx.
func Publish(ctx context.Context, tx Tx, t *postgres.Table, drafts []store.Draft) (ids []int64, err error) {
	if err := CheckTx(tx); err != nil {
		return nil, err
	}
	if x, ok := tx.(autocommit); ok && (isMemory(x.DB) || !postgres.FitsOneStatement(drafts)) {
		err = pgx.BeginFunc(ctx, x.DB, func(tx pgx.Tx) error {
			ids, err = Publish(ctx, tx, t, drafts)
			return err
		})
		return ids, err
	}
	if v, ok := inMemory(tx, t); ok {
		return v.Publish(ctx, drafts)
	}
	return t.Publish(ctx, tx, drafts)
}

// Write calls f with tx, checked as every publish checks it. An [Autocommit] for
// which f has several statements begins a transaction around them. What the database
// says of t is explained.
func Write(ctx context.Context, tx Tx, t *postgres.Table, several bool, f func(store.Outbox) error) error {
	if err := CheckTx(tx); err != nil {
		return err
	}
	if x, ok := tx.(autocommit); ok && isMemory(x.DB) {
		several = true
	}
	return Explain(t, together(ctx, tx, several, func(tx Tx) error { return f(In(tx, t)) }))
}

// Runs calls f for each run of neighbours, from i to before end, that are of one
// table, of which there are n. With an [Autocommit] all of them happen, or none. f
// checks tx, and says in its error what it was about.
func Runs(ctx context.Context, tx Tx, n int, table func(i int) *postgres.Table, f func(tx Tx, t *postgres.Table, i, end int) error) error {
	run := func(i int) (end int) {
		for end = i + 1; end < n && table(end).Names() == table(i).Names(); {
			end++
		}
		return end
	}
	several := run(0) < n && CheckTx(tx) == nil
	return together(ctx, tx, several, func(tx Tx) error {
		for i := 0; i < n; {
			end := run(i)
			if err := f(tx, table(i), i, end); err != nil {
				return err
			}
			i = end
		}
		return nil
	})
}

// together calls f with tx, or with a transaction begun for it where tx is an
// [Autocommit] and f has several statements.
func together(ctx context.Context, tx Tx, several bool, f func(Tx) error) error {
	if x, ok := tx.(autocommit); ok && several {
		return pgx.BeginFunc(ctx, x.DB, func(tx pgx.Tx) error { return f(tx) })
	}
	return f(tx)
}

// Read calls f with what db sees, checked and explained likewise.
func Read(db postgres.Rower, t *postgres.Table, f func(store.Outbox) error) error {
	if err := CheckReader(db); err != nil {
		return err
	}
	return ExplainRead(t, f(In(db, t)))
}

// Now is when tx began, by the database's clock.
func Now(ctx context.Context, tx Tx) (now time.Time, err error) {
	switch x := tx.(type) {
	case ownedTx:
		return Now(ctx, x.Tx)
	case MemoryTx:
		return x.Under().Now(), nil
	}
	err = tx.QueryRow(ctx, "SELECT now()").Scan(&now)
	return now, err
}
