package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// crowded is a ground where a connection has to be waited for.
type crowded struct {
	ground
	waits, looks time.Duration
}

func (g crowded) beginHeld(context.Context, time.Duration) (pgx.Tx, error) {
	time.Sleep(g.waits)
	return emptyTx{}, nil
}

func (g crowded) Hold(context.Context, pgx.Tx, store.Claim) (store.Batch, error) {
	time.Sleep(g.looks)
	return store.Batch{}, nil
}

func (crowded) giveUp(context.Context, pgx.Tx, error) bool { return false }

type emptyTx struct{ pgx.Tx }

func (emptyTx) Rollback(context.Context) error { return nil }

// How often a queue is swept depends on how long it takes to look, which has
// nothing to do with how many use the pool.
func TestHold_DoesNotCountTheWaitForAConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		p := &processor{ground: crowded{waits: time.Second, looks: time.Millisecond}}
		held, err := p.hold(t.Context(), store.Claim{Queue: "q", Limit: 1}, nil)
		is.NoErr(err)
		is.Equal(held.Looked, time.Millisecond)
	})
}
