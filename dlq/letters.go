package dlq

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Letters are the dead letters of an outbox, or of one queue in it. It is a value
// without a connection: make it with [In] or [Of], once. It is immutable and safe
// for concurrent use.
type Letters struct {
	table  *postgres.Table
	queue  string      // empty: of all queues
	limits queue.Queue // the queue, zero where queue is empty
	err    error       // of construction; every call returns it
}

// In names the dead letters of an outbox. What is wrong with the outbox's names
// is kept, and comes back from every call.
func In(o queue.Outbox) Letters {
	t, err := o.Bind()
	return Letters{table: t, err: err}
}

// Of names the dead letters of one queue: no call sees those of another. What is
// wrong with the queue is kept, and comes back from every call.
func Of(q queue.Queue) Letters {
	if err := q.Err(); err != nil {
		return Letters{err: err}
	}
	l := In(q.Outbox())
	l.queue, l.limits = q.Name(), q
	return l
}

// DB is what letters are looked at, replayed and purged on: a *pgxpool.Pool, a
// *pgx.Conn, or a transaction of pgx, which the calls are then part of.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Count is how many letters of a queue have one reason.
type Count struct {
	Queue, Reason string
	Letters       int64
	// Oldest and Newest are the first and the last FailedAt among them.
	Oldest, Newest time.Time
}

// Count counts the letters that the filter selects by queue and reason, ordered
// by these. It reads all of them, so on a very large table name a queue, or a
// time, or both.
func (l Letters) Count(ctx context.Context, db DB, f Filter) ([]Count, error) {
	const verb = "count"
	if err := l.check(db); err != nil {
		return nil, l.failed(verb, err)
	}
	where, err := f.bind(l)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	queues, err := l.queues(ctx, db, where)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	rows, err := access.On(db, l.table).CountLetters(ctx, queues, where)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	counts := make([]Count, len(rows))
	for i, r := range rows {
		counts[i] = Count(r)
	}
	return counts, nil
}

// Get reads one letter. It is [ErrNotFound] where there is none.
func (l Letters) Get(ctx context.Context, db DB, id int64) (Letter, error) {
	if err := l.check(db); err != nil {
		return Letter{}, l.failed("get", err)
	}
	row, err := access.In(db, l.table).Letter(ctx, id, l.queue)
	if err != nil {
		return Letter{}, fmt.Errorf("get dead letter %d of %s: %w", id, l, explain(l.table, err))
	}
	return newLetter(row), nil
}

// Page says which part of a list is wanted.
type Page struct {
	// Size is the most letters of a page. Zero is 100; below zero and above
	// 1,000 are [ErrInvalid]. Payloads come whole, so a page of large
	// ones is large.
	Size int
	// OldestFirst turns the order round.
	OldestFirst bool
	// After is the [Letter.Cursor] of the last letter of the page before.
	// Empty is the first page.
	After string
}

const (
	pageSize    = 100
	maxPageSize = 1000
)

// List returns the letters that the filter selects, a page of them, newest first
// unless the page says otherwise: by FailedAt, then by id. The next page is the
// one with After set to the last letter's cursor; a page that is not full is the
// last.
//
//	page := dlq.Page{Size: 50}
//	for {
//		list, err := letters.List(ctx, pool, filter, page)
//		...
//		if len(list) < page.Size {
//			break
//		}
//		page.After = list[len(list)-1].Cursor()
//	}
//
// Paging goes by position, so letters that come or go in between are neither
// shown twice nor push others off the page.
func (l Letters) List(ctx context.Context, db DB, f Filter, p Page) ([]Letter, error) {
	const verb = "list"
	if err := l.check(db); err != nil {
		return nil, l.failed(verb, err)
	}
	where, err := f.bind(l)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	after, err := parseCursor(p.After)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	switch {
	case p.Size == 0:
		p.Size = pageSize
	case p.Size < 0 || p.Size > maxPageSize:
		return nil, l.failed(verb, fmt.Errorf("%w: a page of %d, it may be 1 to %d", ErrInvalid, p.Size, maxPageSize))
	}
	queues, err := l.queues(ctx, db, where)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	rows, err := access.On(db, l.table).ListLetters(ctx, queues, where, after, p.OldestFirst, p.Size)
	if err != nil {
		return nil, l.failed(verb, err)
	}
	list := make([]Letter, len(rows))
	for i := range rows {
		list[i] = newLetter(rows[i])
	}
	return list, nil
}

// queues are those that a filter is about.
func (l Letters) queues(ctx context.Context, db DB, where store.LetterFilter) ([]string, error) {
	if where.Queue != "" {
		return []string{where.Queue}, nil
	}
	queues, _, err := access.On(db, l.table).LetterScope(ctx, where)
	return queues, err
}

// made says what is wrong with the construction.
func (l Letters) made() error {
	if l.table == nil && l.err == nil {
		return fmt.Errorf("letters: %w", queue.ErrNotMade)
	}
	return l.err
}

// check finds what is wrong before anything is sent.
func (l Letters) check(db DB) error {
	if err := l.made(); err != nil {
		return err
	}
	missing := db == nil
	switch x := db.(type) {
	case *pgxpool.Pool:
		missing = x == nil
	case *pgx.Conn:
		missing = x == nil
	case *pgxpool.Tx:
		missing = x == nil
	}
	if missing {
		return fmt.Errorf("%w: the database is nil", queue.ErrNoTransaction)
	}
	return nil
}

// failed says what was being done, and with which letters.
func (l Letters) failed(verb string, err error) error {
	if l.table != nil {
		err = explain(l.table, err)
	}
	return fmt.Errorf("%s dead letters of %s: %w", verb, l, err)
}

// String names the letters, for errors and logs.
func (l Letters) String() string {
	switch {
	case l.queue != "":
		return fmt.Sprintf("queue %q", l.queue)
	case l.table != nil:
		return l.table.String()
	}
	return "no outbox"
}
