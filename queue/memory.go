package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// NewMemoryWorker is [NewWorker] on an outbox in memory: the same options, the
// same checks, the same engine. What needs a pool is refused. It is for package
// queuetest.
func NewMemoryWorker(m access.Memory, opts ...WorkerOption) (*Worker, error) {
	return newWorker(onMemory{m}, opts)
}

// onMemory is the base of [NewMemoryWorker].
type onMemory struct{ m access.Memory }

func (o onMemory) check(set *workerSettings) error {
	var problems []error
	for _, b := range set.background {
		if b.needsPool {
			problems = append(problems, fmt.Errorf("background %q needs a pool, and an outbox in memory has none", b.name))
		}
	}
	if set.listenConfig != nil {
		problems = append(problems, errors.New("a configuration to listen with is of no use to an outbox in memory"))
	}
	return errors.Join(problems...)
}

func (o onMemory) db() access.Pool { return o.m }

func (o onMemory) ground(t *postgres.Table) ground { return memoryGround{o.m, t} }

func (o onMemory) connect(context.Context, int) (link, error) { return memoryLink(o), nil }

type memoryLink struct{ m access.Memory }

func (memoryLink) close() {}

func (l memoryLink) store(t *postgres.Table) store.Store { return l.m.Store(t.Names()) }

func (memoryLink) sleeper(*postgres.Table) lease.Sleeper { return nil } // telling costs nothing

func (l memoryLink) listen(ctx context.Context, _ *workerSettings, groups []group, engines []*lease.Engine) {
	for i, g := range groups {
		if g.notify == NotifyNever {
			continue
		}
		stop := l.m.Store(g.table.Names()).Listen(engines[i].Wake)
		defer stop()
		engines[i].SetListening(true)
		defer engines[i].SetListening(false)
	}
	<-ctx.Done()
}

// memoryGround has views for statements.
type memoryGround struct {
	m access.Memory
	t *postgres.Table
}

// errForeign comes where a worker is handed what it did not begin.
var errForeign = errors.New("the transaction is not one of the outbox in memory")

func (g memoryGround) view(tx pgx.Tx) (*memory.View, error) {
	x, ok := tx.(access.MemoryTx)
	if !ok {
		return nil, errForeign
	}
	return x.View(g.m.Store(g.t.Names())), nil
}

func (g memoryGround) under(tx pgx.Tx, f func(*memory.Tx)) error {
	x, ok := tx.(access.MemoryTx)
	if !ok {
		return errForeign
	}
	f(x.Under())
	return nil
}

func (g memoryGround) begin(ctx context.Context) (pgx.Tx, error) { return g.m.Begin(ctx) }

func (g memoryGround) beginHeld(ctx context.Context, _ time.Duration) (pgx.Tx, error) {
	return g.m.Begin(ctx)
}

func (g memoryGround) Leased(ctx context.Context, tx pgx.Tx, l store.Lease) (bool, error) {
	v, err := g.view(tx)
	if err != nil {
		return false, err
	}
	return v.Leased(ctx, l)
}

func (g memoryGround) AckIn(ctx context.Context, tx pgx.Tx, l store.Lease) (bool, error) {
	v, err := g.view(tx)
	if err != nil {
		return false, err
	}
	return v.Ack(ctx, l)
}

func (g memoryGround) Hold(ctx context.Context, tx pgx.Tx, c store.Claim) (store.Batch, error) {
	v, err := g.view(tx)
	if err != nil {
		return store.Batch{}, err
	}
	batch, err := v.Hold(ctx, c)
	if err != nil {
		return batch, err
	}
	return batch, g.KeepWork(ctx, tx)
}

func (g memoryGround) HoldAgain(ctx context.Context, tx pgx.Tx, c *store.Claimed) (bool, error) {
	v, err := g.view(tx)
	if err != nil {
		return false, err
	}
	return v.HoldAgain(ctx, c)
}

func (g memoryGround) KeepWork(_ context.Context, tx pgx.Tx) error {
	return g.under(tx, (*memory.Tx).KeepWork)
}

func (g memoryGround) UndoWork(_ context.Context, tx pgx.Tx) error {
	return g.under(tx, (*memory.Tx).UndoWork)
}

func (g memoryGround) BuryIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) error {
	v, err := g.view(tx)
	if err != nil {
		return err
	}
	return v.Bury(ctx, outcomes)
}

func (g memoryGround) SettleIn(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) ([]int64, error) {
	v, err := g.view(tx)
	if err != nil {
		return nil, err
	}
	return v.Settle(ctx, outcomes)
}

func (memoryGround) broken(pgx.Tx) bool { return false } // no statement, no failed one

func (memoryGround) busy(pgx.Tx) bool { return false }

func (memoryGround) ended(pgx.Tx) error { return nil }

func (memoryGround) giveUp(context.Context, pgx.Tx, error) bool { return false }

// beginner is a function as a [Beginner].
type beginner func(context.Context) (pgx.Tx, error)

func (b beginner) Begin(ctx context.Context) (pgx.Tx, error) { return b(ctx) }
