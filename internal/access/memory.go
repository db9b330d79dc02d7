package access

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Memory is an outbox in memory, as package queuetest makes one.
type Memory interface {
	Pool
	// Store is where the messages of a table are.
	Store(postgres.Names) *memory.Store
}

// MemoryTx is a transaction of a [Memory].
type MemoryTx interface {
	View(*memory.Store) *memory.View
	Store(postgres.Names) *memory.Store
	// Under is the transaction below all savepoints.
	Under() *memory.Tx
}

// memoryOutbox is all that [In] and [On] give.
type memoryOutbox interface {
	store.Outbox
	store.Letters
}

func inMemory(db postgres.Rower, t *postgres.Table) (memoryOutbox, bool) {
	switch x := db.(type) {
	case ownedTx:
		return inMemory(x.Tx, t)
	case autocommit:
		return inMemory(x.DB, t)
	case MemoryTx:
		return x.View(x.Store(t.Names())), true
	case Memory:
		s := x.Store(t.Names())
		return eachCommits{s.Begin(pgx.ErrTxClosed).In(s), x, t}, true
	}
	return nil, false
}

// eachCommits is a table in memory outside a transaction. What only reads has one
// that locks nothing and need not end; what is written through [Write] has one
// already.
type eachCommits struct {
	*memory.View
	db Memory
	t  *postgres.Table
}

func (e eachCommits) commit(ctx context.Context, f func(store.Letters) error) error {
	return pgx.BeginFunc(ctx, e.db, func(tx pgx.Tx) error { return f(On(tx, e.t)) })
}

func (e eachCommits) ReplayLettersByID(ctx context.Context, ids []int64, fixes []store.Fix, from, to string) (done store.Replayed, err error) {
	err = e.commit(ctx, func(l store.Letters) error {
		done, err = l.ReplayLettersByID(ctx, ids, fixes, from, to)
		return err
	})
	return done, err
}

func (e eachCommits) ReplayLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int, to string) (done store.Replayed, last store.Place, more bool, err error) {
	err = e.commit(ctx, func(l store.Letters) error {
		done, last, more, err = l.ReplayLetters(ctx, f, beyond, limit, to)
		return err
	})
	return done, last, more, err
}

func (e eachCommits) PurgeLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int) (gone int64, last store.Place, more bool, err error) {
	err = e.commit(ctx, func(l store.Letters) error {
		gone, last, more, err = l.PurgeLetters(ctx, f, beyond, limit)
		return err
	})
	return gone, last, more, err
}

func isMemory(db DB) bool {
	_, yes := db.(Memory)
	return yes
}
