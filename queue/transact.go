package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// rollbackWait bounds a rollback, which must go through although the context
// that the transaction ran under may have ended.
const rollbackWait = 5 * time.Second

// worldError is a failure that is not the handler's: a lost connection, a pool
// that gives none. It is no attempt, and the message comes back soon.
type worldError struct{ error }

func (e *worldError) Unwrap() error { return e.error }

// afterWorld is how soon.
const afterWorld = time.Second

// transact is the handler of [Queue.HandleTx]: the user's handler, the token-
// guarded delete, and the commit, in one transaction.
func (p *processor) transact(h TxHandler) Handler {
	return func(ctx context.Context, d *Delivery) (err error) {
		called := time.Now()
		tx, err := p.ground.begin(ctx)
		if err != nil {
			return &worldError{fmt.Errorf("begin the handler's transaction: %w", err)}
		}
		defer rollback(ctx, tx) // does nothing after a commit
		if time.Since(called) > p.set.lease/longWait {
			if err := p.stillOurs(ctx, tx, d); err != nil {
				return err
			}
		}

		began := time.Now()
		err = within(ctx, p.set.timeout, func(ctx context.Context) error { return h(ctx, access.Owned(tx), d) })
		if p.ground.giveUp(ctx, tx, err) {
			return &worldError{err}
		}
		if !p.commits(d, err) {
			return err
		}
		if p.ground.busy(tx) {
			return errLeftBusy
		}
		if time.Since(began) > longRun {
			if err := p.ground.ended(tx); err != nil {
				return blame(fmt.Errorf("the transaction ended while the handler ran: %w", err))
			}
		}
		switch ours, err := p.ground.AckIn(ctx, tx, store.Lease{ID: d.ID, Token: d.token}); {
		case err != nil:
			p.ground.giveUp(ctx, tx, err)
			return blame(fmt.Errorf("acknowledge in the handler's transaction: %w", err))
		case !ours:
			return &worldError{fmt.Errorf("the handler's work is rolled back: %w", ErrLeaseLost)}
		}
		if err := tx.Commit(ctx); err != nil {
			return blame(fmt.Errorf("commit the handler's transaction: %w", err))
		}
		d.committed = true
		return nil
	}
}

const (
	// longWait is what part of its lease a message may wait for a connection before
	// it is asked for again: the process may have been stopped meanwhile, and the
	// keeper with it.
	longWait = 10
	// longRun is from when on a transaction is looked at before its next statement: a
	// server that ends one for being idle says why, once, and on some ways there a
	// statement that comes after that only finds the connection closed.
	longRun = 100 * time.Millisecond
)

// stillOurs is an error where the message's lease is not, or cannot be, known to be
// ours.
func (p *processor) stillOurs(ctx context.Context, tx pgx.Tx, d *Delivery) error {
	switch ours, err := p.ground.Leased(ctx, tx, store.Lease{ID: d.ID, Token: d.token}); {
	case err != nil:
		return &worldError{fmt.Errorf("see whether the lease is still held: %w", err)}
	case !ours:
		return &worldError{fmt.Errorf("the handler is not called: %w", ErrLeaseLost)}
	}
	return nil
}

// commits reports whether what the handler said ends the message with success.
func (p *processor) commits(d *Delivery, err error) bool {
	switch d.verdict().kind {
	case saidNothing:
		return err == nil && p.set.ack != Manual
	default:
		return d.verdict().kind == saidAck
	}
}

// blame tells the handler's failures (a deferred constraint, a transaction left
// in a failed state) from the world's.
func blame(err error) error {
	if postgres.IsRefusal(err) {
		return err
	}
	return &worldError{err}
}

func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
	defer cancel()
	_ = tx.Rollback(ctx) // an error means that the connection is gone, and with it the transaction
}

// decideTx is decide for a message whose handler had a transaction. What the
// handler said by Ack is void where the commit failed.
func (p *processor) decideTx(ctx context.Context, d *Delivery, err error, ran time.Duration) store.Outcome {
	if d.committed {
		return store.Outcome{} // the row is gone with the commit
	}
	var world *worldError
	if errors.As(err, &world) {
		p.log.Warn("handler's transaction was not committed; the message is handed back", p.about(d), slog.String("error", p.text(err)))
		return store.Outcome{Kind: store.Release, Delay: afterWorld}
	}
	switch said := d.verdict().kind; {
	case said == saidAck:
		d.unsay()
		if err == nil {
			err = errNotCommitted
		}
	case said == saidNothing && err == nil && p.set.ack != Manual:
		err = errNotCommitted // a middleware made nil of an error
	}
	return p.decide(ctx, d, err, ran)
}

// errLeftBusy is the failure of a handler that did not close what it queried, which
// no statement can follow.
var errLeftBusy = errors.New("the handler left a result open: close its rows before it returns")

// errNotCommitted is the failure of a message that was acknowledged in a
// transaction which then did not commit, with no error left to tell why.
var errNotCommitted = errors.New("the handler's transaction was not committed")
