package timers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Timers are the live timers of an outbox, or of one queue in it. It is a value
// without a connection: make it with [In] or [Of], once. It is immutable and safe
// for concurrent use.
type Timers struct {
	table *postgres.Table
	queue string // empty: of all queues
	err   error  // of construction; every call returns it
}

// In names the timers of an outbox. What is wrong with the outbox's names is
// kept, and comes back from every call.
func In(o queue.Outbox) Timers {
	t, err := o.Bind()
	return Timers{table: t, err: err}
}

// Of names the timers of one queue: no call sees those of another. What is wrong
// with the queue is kept, and comes back from every call.
func Of(q queue.Queue) Timers {
	t, err := q.Table()
	return Timers{table: t, queue: q.Name(), err: err}
}

// DB is what timers are looked at on: a *pgxpool.Pool, a *pgx.Conn, or any
// [queue.Tx], whose own changes are then seen too.
type DB interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Filter selects timers: those that meet every condition that is set. The zero
// Filter selects all that wait.
type Filter struct {
	// Queue is compared as it is; empty is any.
	Queue string
	// Prefix is what the timer's id begins with, upper and lower case apart.
	Prefix string
	// DueFrom and DueBefore bound the due time: not before the one, before the
	// other. Zero is no bound.
	DueFrom, DueBefore time.Time
	// Running adds the timers that a worker has claimed to those that wait.
	Running bool
}

// bind checks the filter and narrows it to the timers that t is about.
func (f Filter) bind(t Timers) (store.TimerFilter, error) {
	var problems []error
	if !validText(f.Queue) {
		problems = append(problems, fmt.Errorf("%w: the queue is not valid text", ErrInvalid))
	}
	if !validText(f.Prefix) {
		problems = append(problems, fmt.Errorf("%w: the prefix is not valid text", ErrInvalid))
	}
	for _, at := range []time.Time{f.DueFrom, f.DueBefore} {
		if !at.IsZero() {
			problems = append(problems, checkAt(at))
		}
	}
	switch {
	case t.queue == "" || f.Queue == t.queue:
	case f.Queue == "":
		f.Queue = t.queue
	default:
		problems = append(problems, fmt.Errorf("%w: queue is %q, but these are the timers of %q", ErrInvalid, f.Queue, t.queue))
	}
	return store.TimerFilter(f), errors.Join(problems...)
}

// Page says which part of a list is wanted.
type Page struct {
	// Size is the most timers of a page. Zero is 100; below zero and above 1,000
	// are [ErrInvalid]. Payloads come whole, so a page of large ones is large.
	Size int
	// After is the [Live.Cursor] of the last timer of the page before. Empty is
	// the first page.
	After string
}

const (
	pageSize    = 100
	maxPageSize = 1000
)

// List returns the timers that the filter selects, a page of them, by due time,
// then by id. The next page is the one with After set to the last timer's cursor;
// a page that is not full is the last. Paging goes by position, so timers that
// come, go or move in between push no other off the page. It locks nothing.
//
// It reads <table>_pending_idx from the page's beginning, and passes over what
// the filter does not select: with a prefix that few timers have, that may be all
// of the queue's, and so may plain messages of a queue that has both.
func (t Timers) List(ctx context.Context, db DB, f Filter, p Page) ([]Live, error) {
	const verb = "list"
	where, err := t.prepare(db, f)
	if err != nil {
		return nil, t.failed(verb, err)
	}
	after, err := parseCursor(p.After)
	if err != nil {
		return nil, t.failed(verb, err)
	}
	switch {
	case p.Size == 0:
		p.Size = pageSize
	case p.Size < 0 || p.Size > maxPageSize:
		return nil, t.failed(verb, fmt.Errorf("%w: a page of %d, it may be 1 to %d", ErrInvalid, p.Size, maxPageSize))
	}
	rows, err := access.In(db, t.table).ListTimers(ctx, where, after, p.Size)
	if err != nil {
		return nil, t.failed(verb, access.ExplainRead(t.table, err))
	}
	list := make([]Live, len(rows))
	for i := range rows {
		list[i] = newLive(&rows[i])
	}
	return list, nil
}

// Get reads one timer, waiting or running; false: there is none. The timers must
// be those of one queue: see [Of].
func (t Timers) Get(ctx context.Context, db DB, id string) (Live, bool, error) {
	row, err := func() (*store.StoredTimer, error) {
		if err := errors.Join(t.one(), access.CheckReader(db), checkID(id)); err != nil {
			return nil, err
		}
		row, err := access.In(db, t.table).GetTimer(ctx, t.queue, id)
		return row, access.ExplainRead(t.table, err)
	}()
	if err != nil || row == nil {
		return Live{}, false, t.failed(fmt.Sprintf("get %.40q of", id), err)
	}
	return newLive(row), true, nil
}

// Counts are numbers of timers.
type Counts struct {
	// Waiting are all that no worker has claimed. Of these, Due are those whose
	// time has come, and Retrying those that have failed before.
	Waiting, Due, Retrying int64
	// Running are those that a worker has claimed. Only with [Filter].Running.
	Running int64
}

// Count counts the timers that the filter selects. It reads all of the queue's,
// so it is for people and for metrics, not for every message.
func (t Timers) Count(ctx context.Context, db DB, f Filter) (Counts, error) {
	where, err := t.prepare(db, f)
	if err != nil {
		return Counts{}, t.failed("count", err)
	}
	c, err := access.In(db, t.table).CountTimers(ctx, where)
	return Counts(c), t.failed("count", access.ExplainRead(t.table, err))
}

// NextDue is when the first of the timers that wait is due; false: none waits, or
// for ever. It may lie in the past.
func (t Timers) NextDue(ctx context.Context, db DB) (time.Time, bool, error) {
	if _, err := t.prepare(db, Filter{}); err != nil {
		return time.Time{}, false, t.failed("look for the next of", err)
	}
	at, err := access.In(db, t.table).NextTimer(ctx, t.queue)
	return at, !at.IsZero(), t.failed("look for the next of", access.ExplainRead(t.table, err))
}

// prepare finds what is wrong before anything is sent.
func (t Timers) prepare(db DB, f Filter) (store.TimerFilter, error) {
	if err := t.made(); err != nil {
		return store.TimerFilter{}, err
	}
	where, err := f.bind(t)
	return where, errors.Join(access.CheckReader(db), err)
}

// made says what is wrong with the construction.
func (t Timers) made() error {
	if t.table == nil && t.err == nil {
		return fmt.Errorf("timers: %w", queue.ErrNotMade)
	}
	return t.err
}

// one says, too, where these are not the timers of one queue.
func (t Timers) one() error {
	if err := t.made(); err != nil {
		return err
	}
	if t.queue == "" {
		return fmt.Errorf("%w: these are the timers of all queues; use Of", ErrInvalid)
	}
	return nil
}

// failed says what was being done, and with which timers. nil stays nil.
func (t Timers) failed(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s timers of %s: %w", verb, t, err)
}

// String names the timers, for errors and logs.
func (t Timers) String() string {
	switch {
	case t.queue != "":
		return fmt.Sprintf("queue %.40q", t.queue)
	case t.table != nil:
		return t.table.String()
	}
	return "no outbox"
}
