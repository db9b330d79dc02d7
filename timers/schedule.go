package timers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Schedule stores a timer that is due at the given time, unless one of this id is
// in the message's queue: then everything stays as it is, and the result says
// [AlreadyThere] and what is there. It is part of the transaction tx, and takes
// one round trip, or two where the timer is there.
//
// What was there may be running, or may end before tx does, without having seen
// what tx wrote; where that matters, use [Reschedule].
//
// Errors are [ErrInvalidID], [ErrInvalidTime], [queue.ErrInvalidDelay] where the
// message has a [queue.Delay] of its own, and those of [queue.Publish]. Schedule
// is as safe for concurrent use as tx is.
func Schedule(ctx context.Context, tx queue.Tx, id string, at time.Time, message queue.Draft) (Result, error) {
	return schedule(ctx, tx, id, due{at: at}, message)
}

// ScheduleAfter is [Schedule] for a timer that is due some time after the start
// of the transaction, by the database's clock. Zero is at once; below zero or
// above [queue.MaxDelay] is [queue.ErrInvalidDelay].
func ScheduleAfter(ctx context.Context, tx queue.Tx, id string, after time.Duration, message queue.Draft) (Result, error) {
	return schedule(ctx, tx, id, due{after: after, relative: true}, message)
}

func schedule(ctx context.Context, tx queue.Tx, id string, when due, message queue.Draft) (r Result, err error) {
	seal, end := queue.Publication(ctx, message)
	defer func() { end([]int64{r.stored()}, err) }()
	row, t, err := prepare(seal, 0, id, when)
	if err == nil {
		err = access.Write(ctx, tx, t, false, func(o store.Outbox) error {
			w, err := o.ScheduleTimer(ctx, &row)
			r = result(w, AlreadyThere)
			return err
		})
	}
	if err != nil {
		return Result{}, failed("schedule", id, row.Queue, err)
	}
	return r, nil
}

// due is one of the two ways to say when.
type due struct {
	at       time.Time
	after    time.Duration
	relative bool
}

func (d due) check() error {
	if d.relative {
		return checkAfter(d.after)
	}
	return checkAt(d.at)
}

// sealer makes the row of the i-th message of a call.
type sealer func(i int) (store.Draft, *postgres.Table, error)

// prepare makes a row of a timer and checks all there is to check.
func prepare(seal sealer, i int, id string, when due) (store.Draft, *postgres.Table, error) {
	row, t, err := seal(i)
	switch {
	case err != nil:
		return row, t, err
	case row.Delay != 0:
		return row, t, fmt.Errorf("%w: the message of a timer has none of its own", queue.ErrInvalidDelay)
	}
	if err := checkID(id); err != nil {
		return row, t, err
	}
	if err := when.check(); err != nil {
		return row, t, err
	}
	row.TimerID, row.At, row.Delay = id, when.at, when.after
	return row, t, nil
}

// Timer is one timer of a batch.
type Timer struct {
	ID string
	// At is when it is due, or else After is how long after the start of the
	// transaction. Exactly one is set.
	At      time.Time
	After   time.Duration
	Message queue.Draft
}

// ScheduleBatch is [Schedule] for any number of timers, of any queues, in one
// statement, or a few for more than about 5,000. The results are in the order of
// the timers. Where an id comes twice for one queue the first holds, and the
// result of the other is [Repeated].
//
// Where one timer is wrong, none is stored, and the error says which. No timers
// is no error, and does nothing. Batches that have timers in common do not
// deadlock with each other.
func ScheduleBatch(ctx context.Context, tx queue.Tx, batch ...Timer) ([]Result, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	messages := make([]queue.Draft, len(batch))
	for i := range batch {
		messages[i] = batch[i].Message
	}
	seal, end := queue.Publication(ctx, messages...)
	results, err := scheduleBatch(ctx, tx, seal, batch)
	ids := make([]int64, len(results))
	for i := range results {
		ids[i] = results[i].stored()
	}
	end(ids, err)
	return results, err
}

func scheduleBatch(ctx context.Context, tx queue.Tx, seal sealer, batch []Timer) ([]Result, error) {
	b, err := newBatch(seal, batch)
	if err != nil {
		return nil, err
	}
	written := make([]store.Written, len(b.rows))
	table := func(i int) *postgres.Table { return b.tables[i] }
	err = access.Runs(ctx, tx, len(b.rows), table, func(tx access.Tx, t *postgres.Table, i, end int) error {
		err := access.Write(ctx, tx, t, end-i > 1, func(o store.Outbox) error {
			w, err := o.ScheduleTimers(ctx, b.rows[i:end])
			copy(written[i:], w)
			return err
		})
		if err != nil {
			return fmt.Errorf("schedule %d timers of queue %q and others: %w", end-i, b.rows[i].Queue, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.results(written), nil
}

// sortedBatch is the distinct timers of a batch, in the order of table, queue and
// id, in which all batches write.
type sortedBatch struct {
	rows   []store.Draft
	tables []*postgres.Table
	where  []int  // of each timer of the caller's: the row
	first  []bool // and whether it is the one that the row is made of
}

func newBatch(seal sealer, batch []Timer) (*sortedBatch, error) {
	rows, tables, order := make([]store.Draft, len(batch)), make([]*postgres.Table, len(batch)), make([]int, len(batch))
	for i := range batch {
		t := &batch[i]
		when := due{at: t.At, after: t.After, relative: t.At.IsZero()}
		row, table, err := prepare(seal, i, t.ID, when)
		switch {
		case err != nil:
		case t.At.IsZero() && t.After == 0:
			err = fmt.Errorf("%w: neither At nor After is set", ErrInvalidTime)
		case !t.At.IsZero() && t.After != 0:
			err = fmt.Errorf("%w: both At and After are set", ErrInvalidTime)
		}
		if err != nil {
			return nil, fmt.Errorf("timer %d of %d: %w", i, len(batch), failed("schedule", t.ID, row.Queue, err))
		}
		rows[i], tables[i], order[i] = row, table, i
	}
	compare := func(i, j int) int {
		if c := compareTables(tables[i], tables[j]); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(rows[i].Queue, rows[j].Queue), cmp.Compare(rows[i].TimerID, rows[j].TimerID))
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(compare(i, j), cmp.Compare(i, j)) })
	b := &sortedBatch{
		rows: make([]store.Draft, 0, len(batch)), tables: make([]*postgres.Table, 0, len(batch)),
		where: make([]int, len(batch)), first: make([]bool, len(batch)),
	}
	for k, i := range order {
		if k == 0 || compare(order[k-1], i) != 0 {
			b.rows, b.tables = append(b.rows, rows[i]), append(b.tables, tables[i])
			b.first[i] = true
		}
		b.where[i] = len(b.rows) - 1
	}
	return b, nil
}

func compareTables(a, b *postgres.Table) int {
	if a == b { // as nearly always
		return 0
	}
	x, y := a.Names(), b.Names()
	return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Table, y.Table), cmp.Compare(x.DeadLetters, y.DeadLetters))
}

// results puts what was written in the caller's order.
func (b *sortedBatch) results(written []store.Written) []Result {
	out := make([]Result, len(b.where))
	for i, row := range b.where {
		out[i] = result(written[row], AlreadyThere)
		if !b.first[i] {
			out[i].Outcome = Repeated
		}
	}
	return out
}
