package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/lease"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

const (
	// idleSlack is how much longer than the handler's time the server lets the
	// transaction sit before it ends it, and so frees the rows of a worker that
	// hangs.
	idleSlack = 5 * time.Second
	// unburied is when a message is tried again whose dead letter could not be
	// written.
	unburied = 15 * time.Second
)

// hold is the engine's callback of [Queue.HandleBatchTx]: it locks due rows,
// handles them and settles them, all in one transaction.
func (p *processor) hold(ctx context.Context, c store.Claim, found func(lease.Held)) (lease.Held, error) {
	c.Limit = p.holdSize(c.Limit)
	idle := p.set.timeout
	if idle > 0 {
		idle += idleSlack
	}
	began := time.Now()
	tx, err := p.ground.beginHeld(ctx, idle)
	if err != nil {
		p.witness.Fetched(c, nil, time.Since(began), access.Explain(p.table, err))
		return lease.Held{}, fmt.Errorf("begin: %w", err)
	}
	defer rollback(ctx, tx) // does nothing after a commit
	looking := time.Now()   // the wait for a connection is over
	batch, err := p.ground.Hold(ctx, tx, c)
	p.witness.Fetched(c, batch.Messages, time.Since(began), access.Explain(p.table, err))
	p.ground.giveUp(ctx, tx, err)
	held := lease.Held{Looked: time.Since(looking), NextDue: batch.NextDue, HasNext: batch.HasNext, PassedOver: batch.PassedOver}
	if err != nil || len(batch.Messages) == 0 {
		return held, err
	}
	held.More, held.Messages = len(batch.Messages) == c.Limit, len(batch.Messages)
	held.Lag, held.Newest = lease.Lateness(batch.Messages), batch.Messages[len(batch.Messages)-1].DueAt
	found(held)

	p.witness.dispatched(c.Queue, len(batch.Messages))
	began = time.Now()
	var committed []store.Outcome
	defer func() { p.witness.handledHeld(c.Queue, batch.Messages, committed, time.Since(began)) }()

	err = within(ctx, p.set.timeout, func(limited context.Context) error {
		refused, rows := p.refuseHeld(batch.Messages)
		outcomes, err := p.rounds(limited, tx, rows)
		outcomes = append(outcomes, refused...)
		if err == nil {
			err = p.write(limited, tx, outcomes)
		}
		if err == nil {
			err = tx.Commit(limited)
		}
		if err == nil {
			committed = outcomes
		}
		return err
	})
	switch {
	case err == nil:
		p.holds.Store(min(int64(p.set.batchSize), 2*int64(c.Limit)))
		return held, nil
	case ctx.Err() != nil || !(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errLeftBusy) || postgres.IsRefusal(err)):
		return lease.Held{}, err // not the messages' doing
	case len(batch.Messages) == 1:
		rollback(ctx, tx)
		committed, err = p.failAlone(ctx, &batch.Messages[0], err)
		return held, err
	}
	// One of them is to blame, and it cannot be told which: try fewer at once.
	p.holds.Store(int64(max(1, len(batch.Messages)/8)))
	p.log.Warn("a batch failed as a whole and is tried again in smaller ones",
		slog.Int("messages", len(batch.Messages)), slog.String("error", p.text(err)))
	held.More, held.LetGo = true, true
	return held, nil
}

// refuseHeld parts the messages that were delivered too often from the others.
func (p *processor) refuseHeld(held []store.Claimed) (refused []store.Outcome, rows []store.Claimed) {
	if !slices.ContainsFunc(held, func(c store.Claimed) bool { return p.tooOften(c.Deliveries) }) {
		return nil, held // as nearly always
	}
	for i := range held {
		if o, yes := p.refuse(newDelivery(&held[i])); yes {
			o.Lease = held[i].Lease
			refused = append(refused, o)
			continue
		}
		rows = append(rows, held[i])
	}
	return refused, rows
}

// holdSize is how many messages the next transaction takes.
func (p *processor) holdSize(most int) int {
	if n := int(p.holds.Load()); n > 0 {
		return min(n, most)
	}
	return most
}

// failAlone settles, in a transaction of its own, a message whose own transaction
// could not be committed. The rollback has let the row go: whoever has taken it
// since decides about it, and the failure is not counted twice.
func (p *processor) failAlone(ctx context.Context, row *store.Claimed, failure error) (committed []store.Outcome, err error) {
	err = pgx.BeginFunc(ctx, beginner(p.ground.begin), func(tx pgx.Tx) error {
		if ours, err := p.ground.HoldAgain(ctx, tx, row); err != nil || !ours {
			return err
		}
		committed = []store.Outcome{p.aside(ctx, row, newDelivery(row), failure, p.set.timeout)}
		return p.write(ctx, tx, committed)
	})
	if err != nil {
		return nil, err
	}
	return committed, nil
}

// rounds calls the handler until one call succeeds with all it was given; what
// failed on the way is put aside. The outcomes cover all rows.
func (p *processor) rounds(ctx context.Context, tx pgx.Tx, rows []store.Claimed) ([]store.Outcome, error) {
	var outcomes []store.Outcome
	for len(rows) > 0 {
		r, err := p.round(ctx, tx, rows)
		if err != nil {
			return nil, err
		}
		if outcomes == nil {
			outcomes = r.outcomes
		} else {
			outcomes = append(outcomes, r.outcomes...)
		}
		if r.split {
			half := len(rows) / 2
			first, err := p.rounds(ctx, tx, rows[:half])
			if err != nil {
				return nil, err
			}
			if err := p.ground.KeepWork(ctx, tx); err != nil {
				return nil, fmt.Errorf("keep the first half's work: %w", err)
			}
			outcomes, rows = append(outcomes, first...), rows[half:]
			continue
		}
		rows = r.rest
	}
	return outcomes, nil
}

// round is one call of the handler.
type round struct {
	outcomes []store.Outcome // of what is decided
	rest     []store.Claimed // to be handled again, without the others
	split    bool            // nothing is decided: it cannot be told who failed
}

func (p *processor) round(ctx context.Context, tx pgx.Tx, rows []store.Claimed) (round, error) {
	batch := newDeliveries(rows)
	handle := func(ctx context.Context, batch []*Delivery) []error {
		return p.batchTx(ctx, access.Owned(tx), batch)
	}
	began := time.Now()
	errs, panicked := guardBatch(ctx, chain(handle, p.set.batchMiddleware), batch)
	ran := time.Since(began)
	if ctx.Err() != nil {
		return round{}, fmt.Errorf("handle %d messages: %w", len(rows), ctx.Err())
	}
	if p.ground.busy(tx) {
		return round{}, errLeftBusy
	}
	broken := p.ground.broken(tx)
	if panicked == nil && p.allCommit(batch, errs) {
		if !broken {
			return acked(rows), nil
		}
		panicked = errLeftBroken // as with a panic, nobody says who it was
	}
	if err := p.ground.UndoWork(ctx, tx); err != nil {
		return round{}, fmt.Errorf("roll back the handler's work: %w", err)
	}
	if panicked != nil {
		if len(rows) > 1 {
			return round{split: true}, nil
		}
		return round{outcomes: []store.Outcome{p.aside(ctx, &rows[0], batch[0], panicked, ran)}}, nil
	}
	return p.sort(ctx, rows, batch, errs, ran, broken), nil
}

// errLeftBroken is the failure of a message whose handler hid that a statement
// had failed.
var errLeftBroken = errors.New("a statement of the handler failed, and with it the transaction, but the handler returned no error")

func (p *processor) allCommit(batch []*Delivery, errs []error) bool {
	for i, d := range batch {
		if !p.commits(d, errs[i]) {
			return false
		}
	}
	return true
}

func acked(rows []store.Claimed) round {
	out := make([]store.Outcome, len(rows))
	for i := range rows {
		out[i] = store.Outcome{Lease: rows[i].Lease, Kind: store.Ack}
	}
	return round{outcomes: out}
}

// sort parts the messages that failed from those to be handled again. In a
// broken transaction every statement after the first failure fails too, so only
// the first failure is a message's own.
func (p *processor) sort(ctx context.Context, rows []store.Claimed, batch []*Delivery, errs []error, ran time.Duration, broken bool) round {
	var r round
	for i, d := range batch {
		if p.commits(d, errs[i]) || (broken && len(r.outcomes) > 0) {
			r.rest = append(r.rest, rows[i])
			continue
		}
		if broken && len(rows) > 1 && postgres.IsAborted(errs[i]) {
			return round{split: true} // who broke it kept silent
		}
		r.outcomes = append(r.outcomes, p.aside(ctx, &rows[i], d, errs[i], ran))
	}
	return r
}

// aside decides about one message whose work has been rolled back.
func (p *processor) aside(ctx context.Context, row *store.Claimed, d *Delivery, err error, ran time.Duration) store.Outcome {
	if d.verdict().kind == saidAck { // void: its work is not committed
		d.unsay()
		if err == nil {
			err = errNotCommitted
		}
	}
	o := p.decide(ctx, d, err, ran)
	o.Lease, o.Ran = row.Lease, ran
	return o
}

// write settles held rows. A dead letter that cannot be written costs the others
// nothing: its message stays in the queue, for later.
func (p *processor) write(ctx context.Context, tx pgx.Tx, outcomes []store.Outcome) error {
	var graves []store.Outcome
	for _, o := range outcomes {
		if o.Kind == store.Bury {
			graves = append(graves, o)
		}
	}
	if err := p.buryApart(ctx, tx, graves); err != nil {
		if !postgres.IsRefusal(err) {
			return err
		}
		err = access.Explain(p.table, err)
		p.log.Error("cannot write dead letters; the messages stay in their queue",
			slog.Int("messages", len(graves)), slog.Any("error", err), slog.Duration("delay", unburied))
		p.witness.Buried(p.queue, graves, 0, err)
		for i := range outcomes {
			if outcomes[i].Kind == store.Bury {
				outcomes[i].Kind, outcomes[i].Delay = store.Release, unburied
			}
		}
	}
	_, err := p.ground.SettleIn(ctx, tx, outcomes) // passes over what is buried
	return err
}

func (p *processor) buryApart(ctx context.Context, tx pgx.Tx, graves []store.Outcome) error {
	if len(graves) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error { return p.ground.BuryIn(ctx, sub, graves) })
}
