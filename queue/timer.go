package queue

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// MessageOption goes with a message whichever way it is sent: it is a
// [PublishOption], and an option of package timers.
type MessageOption interface {
	PublishOption
	// ApplyTimer does nothing: it says that a timer can have the option.
	ApplyTimer(*store.TimerRules)
}

func (publishOption) ApplyTimer(*store.TimerRules) {}

// With returns the draft with further options, which come after its own.
func (d Draft) With(opts ...PublishOption) Draft {
	d.headers = maps.Clone(d.headers)
	for _, o := range opts {
		o.applyPublish(&d)
	}
	d.check()
	return d
}

// What follows is for package timers, which writes messages in a way of its own:
// outside this module, the types cannot be named.

// Publication begins a call that publishes the drafts, and gives them what a
// publish with ctx gives. row turns the i-th into what goes into a table, and says
// which; the queue is set even where there is an error. end must be called, with
// the ids that were stored, zero for none, or the error.
func Publication(ctx context.Context, drafts ...Draft) (row func(i int) (store.Draft, *postgres.Table, error), end func(ids []int64, err error)) {
	p := beginPublication(ctx, drafts)
	row = func(i int) (store.Draft, *postgres.Table, error) {
		row, err := drafts[i].seal(&p, i)
		row.Queue = drafts[i].queue.name
		return row, drafts[i].queue.table, err
	}
	return row, p.end
}

// Table is where the queue lives, or what is wrong with its construction.
func (q Queue) Table() (*postgres.Table, error) { return q.table, q.Err() }

// Atomic calls f with tx, checked as every publish checks it. An [Autocommit] for
// which f has several statements begins a transaction around them. What the
// database says of t is explained.
func Atomic(ctx context.Context, tx Tx, t *postgres.Table, several bool, f func(store.Outbox) error) error {
	if err := CheckTx(tx); err != nil {
		return err
	}
	if x, ok := tx.(autocommit); ok && (several || isMemory(x.DB)) {
		err := pgx.BeginFunc(ctx, x.DB, func(tx pgx.Tx) error { return f(In(tx, t)) })
		return explain(t, err)
	}
	return explain(t, f(In(tx, t)))
}

// Read calls f with what db sees, checked likewise. It is for package queuetest.
func Read(db postgres.Rower, t *postgres.Table, f func(store.Outbox) error) error {
	if err := CheckReader(db); err != nil {
		return err
	}
	return explain(t, f(In(db, t)))
}

// Now is when tx began, by the database's clock.
func Now(ctx context.Context, tx Tx) (now time.Time, err error) {
	switch x := tx.(type) {
	case handlerTx:
		return Now(ctx, x.Tx)
	case memoryTx:
		return x.Under().Now(), nil
	}
	err = tx.QueryRow(ctx, "SELECT now()").Scan(&now)
	return now, err
}

// Options is a list of options as one, for those who build on several.
type Options []WorkerOption

func (l Options) applyWorker(w *workerSettings) {
	for _, o := range l {
		if o == nil {
			o = BadOption(errors.New("an option is nil"))
		}
		o.applyWorker(w)
	}
}
