package queuetest

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

// tx is a transaction of a box, or a savepoint in one.
type tx struct {
	box    *Box
	under  *memory.Tx
	parent *tx              // of a savepoint
	point  memory.Savepoint // where it began
	ended  bool
	noSQL
}

// Begin makes a savepoint.
func (t *tx) Begin(context.Context) (pgx.Tx, error) {
	if t.over() {
		return nil, pgx.ErrTxClosed
	}
	return &tx{box: t.box, under: t.under, parent: t, point: t.under.Savepoint(), noSQL: noSQL{t.box}}, nil
}

// Commit makes what was published true, and has it delivered.
func (t *tx) Commit(ctx context.Context) error {
	if t.over() {
		return pgx.ErrTxClosed
	}
	if err := ctx.Err(); err != nil { // as pgx has it: the connection is closed
		_ = t.Rollback(context.WithoutCancel(ctx))
		return err
	}
	t.ended = true
	if t.parent != nil {
		return nil
	}
	if err := t.under.Commit(); err != nil {
		return err
	}
	t.box.deliver()
	return nil
}

// Rollback drops what was published since Begin.
func (t *tx) Rollback(context.Context) error {
	if t.over() {
		return pgx.ErrTxClosed
	}
	t.ended = true
	if t.parent != nil {
		t.under.RollbackTo(t.point)
		return nil
	}
	if err := t.under.Rollback(); err != nil {
		return err
	}
	t.box.deliver() // what it had locked
	return nil
}

func (t *tx) over() bool { return t.ended || t.parent != nil && t.parent.over() }

// What follows is for package queue: outside this module the types cannot be named.

// View is a table as the transaction sees it.
func (t *tx) View(s *memory.Store) *memory.View {
	if t.over() {
		dead := s.Begin(pgx.ErrTxClosed)
		_ = dead.Rollback() // so that the view says so
		return dead.In(s)
	}
	return t.under.In(s)
}

// Store is where the messages of a table are.
func (t *tx) Store(n postgres.Names) *memory.Store { return t.box.Store(n) }

// Under is the transaction below all savepoints.
func (t *tx) Under() *memory.Tx { return t.under }
