package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Reader is what an outbox is looked at on: a *pgxpool.Pool, a *pgx.Conn, or any
// [Tx], whose own changes are then seen too.
type Reader interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// ErrInvalid says that an option, a filter or a page of a look at an outbox holds
// what cannot be meant. Nothing has been sent then.
var ErrInvalid = errors.New("invalid argument")

// StatsOptions say what [Outbox.Stats] looks at. The zero value is all queues, with
// the defaults.
type StatsOptions struct {
	// Queues are the queues to count, in this order, whether they hold anything
	// or not. Nil is all that hold something; a list that is not nil and empty is
	// none.
	Queues []string
	// MaxQueues is how many queues are counted at most where none are named. Zero
	// is 200.
	MaxQueues int
	// Cap is how far a count goes: beyond it, it only says that there are more.
	// Zero is 10,000.
	Cap int64
	// Lease is after how long without an extension a lease counts as expired: the
	// longest [Lease] of the workers. Zero is 60 s, which is also their default.
	Lease time.Duration
}

const (
	statsQueues = 200
	statsCap    = 10_000
	statsLease  = 60 * time.Second
)

// Stats is what an outbox holds at one moment.
type Stats struct {
	// At is that moment, by the database's clock.
	At time.Time
	// Queues are in the order of their names as the database sorts them, or as
	// they were asked for.
	Queues []QueueStats
	// MoreQueues says that there may be queues that are not listed: there are
	// more than MaxQueues, or only some were asked for.
	MoreQueues bool
	// Cap is how far the counts went.
	Cap int64
	// DeadErr is why dead letters were not counted, and everything else was:
	// [ErrNoTable] where their table does not exist, or that the role may not
	// read it. It is nil where they were.
	DeadErr error
	// Totals are what [Stats.Since] takes rates from.
	Totals Totals
}

// Totals are rows that were written since PostgreSQL's statistics began, in all
// queues, by anybody. Writes that were rolled back count. PostgreSQL adds to them
// up to a second after a commit.
type Totals struct {
	// Published and Removed are rows inserted into the outbox and deleted from it.
	// A replay of dead letters publishes; a message leaves when it is acknowledged,
	// becomes a dead letter, or is cancelled.
	Published, Removed int64
	// Died are rows inserted into the dead-letter table.
	Died int64
}

// QueueStats is what one queue holds. A message is counted in exactly one of Due,
// Leased, Scheduled and Retrying.
type QueueStats struct {
	Queue string
	// Due are messages that wait for a worker: no other has them, and their time
	// has come. What failed before and is due again is among them.
	Due Count
	// Leased are those that a worker has, or had: of these, Expired are those
	// whose lease was not extended for longer than [StatsOptions].Lease, and
	// which the next worker that looks takes over.
	Leased, Expired Count
	// Scheduled are those whose time has not come and that have never failed:
	// timers, delays, what was snoozed. Retrying are those whose time has not
	// come and whose handler has failed at least once. Both are counted in one
	// walk from the soonest, as far as the cap goes: where it ends early, both
	// say so, and either may be zero with more behind it.
	Scheduled, Retrying Count
	// Dead are dead letters.
	Dead Count
	// OldestDue is how long the first due message has been due, zero where none
	// is. OldestLease is how long ago the oldest lease was taken or extended.
	// Infinite times, which others may write, do not count.
	OldestDue, OldestLease time.Duration
	// PausedSince is since when the queue has been paused; zero where it is not.
	// One that is paused and holds nothing is not among the queues unless it is
	// named: see [Outbox.Paused].
	PausedSince time.Time
}

// Depth is all that the queue holds but its dead letters.
func (q QueueStats) Depth() Count {
	var sum Count
	for _, c := range []Count{q.Due, q.Leased, q.Scheduled, q.Retrying} {
		sum.N += c.N
		sum.Capped = sum.Capped || c.Capped
	}
	return sum
}

// Count is a number of messages, or the least that it can be.
type Count struct {
	N int64
	// Capped says that counting stopped there: there are at least N.
	Capped bool
}

// String is "12", or "10000+" where the count was capped.
func (c Count) String() string {
	s := strconv.FormatInt(c.N, 10)
	if c.Capped {
		s += "+"
	}
	return s
}

// Stats counts what each queue holds. It locks and writes nothing, and is safe to
// call at any time on a table of any size: the queues are found by going from one
// to the next on the indexes, and no count goes further than the cap. The cost is
// that of at most Cap entries for each queue and kind of message, however many lie
// beyond. On ten million messages in 42 queues, every one of them beyond the cap, it
// took 40 to 50 ms, and 5 to 10 ms with a Cap of 100.
//
// What cannot be bounded is what VACUUM has not removed: index entries of messages
// that are gone stand between those that are there, and are passed over one by one,
// at some 0.2 s for a million. See [Outbox.Upkeep].
//
// On a pool it takes two round trips. In a transaction it sees what that sees; ages
// and what is due go by the clock at the call, but PostgreSQL keeps the totals of
// the first call. A dead-letter table that is missing does not make it fail: see
// [Stats].DeadErr.
//
// Errors name the table, and wrap [ErrInvalid], [ErrInvalidName], [ErrNoTransaction]
// where db is nil, [ErrNoTable], or what the database said. The role needs SELECT on
// both tables. It is as safe for concurrent use as db is.
func (o Outbox) Stats(ctx context.Context, db Reader, opts StatsOptions) (Stats, error) {
	t, err := o.Bind()
	if err != nil {
		return Stats{}, fmt.Errorf("read statistics: %w", err)
	}
	s, err := readStats(ctx, t, db, opts)
	if err != nil {
		return Stats{}, fmt.Errorf("read statistics of %s: %w", t, err)
	}
	return s, nil
}

func readStats(ctx context.Context, t *postgres.Table, db Reader, opts StatsOptions) (Stats, error) {
	look, err := opts.look()
	if err := errors.Join(access.CheckReader(db), err); err != nil {
		return Stats{}, err
	}
	exists, may, err := t.Readable(ctx, db)
	if err != nil {
		return Stats{}, access.ExplainRead(t, err)
	}
	look.Dead = exists && may
	counted, err := t.Stats(ctx, db, look)
	if err != nil {
		return Stats{}, access.ExplainRead(t, err)
	}
	s := Stats{
		At: counted.At, MoreQueues: counted.More || opts.Queues != nil, Cap: look.Cap,
		Totals: Totals{Published: counted.Inserted, Removed: counted.Deleted, Died: counted.Buried},
		Queues: make([]QueueStats, len(counted.Queues)),
	}
	switch dead := t.Names().DeadLetters; {
	case !exists:
		s.DeadErr = fmt.Errorf("%w: its dead-letter table %q is missing (Outbox.Create adds it)", ErrNoTable, dead)
	case !may:
		s.DeadErr = fmt.Errorf("the role may not count dead letters: that needs SELECT on %q", dead)
	}
	for i := range counted.Queues {
		s.Queues[i] = newQueueStats(&counted.Queues[i], look.Cap)
	}
	return s, nil
}

// look checks the options and fills in the defaults.
func (o StatsOptions) look() (postgres.Looked, error) {
	var problems []error
	for _, name := range o.Queues {
		problems = append(problems, checkName(name))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{{"MaxQueues", int64(o.MaxQueues)}, {"Cap", o.Cap}, {"Lease", int64(o.Lease)}} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("%w: %s is below zero", ErrInvalid, n.name))
		}
	}
	return postgres.Looked{
		Queues:    o.Queues,
		MaxQueues: cmp.Or(o.MaxQueues, statsQueues),
		Cap:       cmp.Or(o.Cap, statsCap),
		Lease:     cmp.Or(o.Lease, statsLease),
	}, errors.Join(problems...)
}

func newQueueStats(c *postgres.Counted, most int64) QueueStats {
	count := func(n int64) Count { return Count{N: min(n, most), Capped: n > most} }
	q := QueueStats{
		Queue: c.Queue, Due: count(c.Due), Leased: count(c.Leased), Expired: count(c.Expired),
		Scheduled: count(c.Scheduled), Retrying: count(c.Retrying), Dead: count(c.Buried),
		OldestDue: c.OldestDue, OldestLease: c.OldestLease, PausedSince: c.PausedSince,
	}
	if c.Scheduled+c.Retrying > most { // the walk that both come from was cut
		q.Scheduled.Capped, q.Retrying.Capped = true, true
	}
	return q
}
