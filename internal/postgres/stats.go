package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The statements of stats.go and peek.go look at a table of any size and say so
// where they stop. They run on the caller's connection, where the planner is not
// ours to pin, so some habits keep them on the indexes, also on a table that has
// just filled:
//
//   - generate_series(1, $n), so that they are planned for their values, as the
//     statements on timers are;
//   - ORDER BY what the index is ordered by, where only a count is wanted;
//   - LIMIT (SELECT $n), a limit that the planner does not know. If it knew that
//     ten thousand rows are wanted, and thought that there are fewer, it would read
//     and sort all there are;
//   - rows are compared as (queue, time) with a queue from a FROM: an index serves
//     that as well as queue =, and the planner takes each for a third of all rows,
//     whatever it knows or does not know of the queue. One bound is that of the
//     queue, for a scan does not end at one that fails in the time, and is there
//     twice where rows are read, not only their index entries: a ninth is many;
//   - n.ord * 0 = 0, which the planner takes for one of all queues. The costs that it
//     expects stay below those at which it would compile the statement (JIT), for
//     longer than that runs.
//
// Counts go from the newest to the oldest: what workers have taken lately, dead
// but not vacuumed, stands at the other end of the index.

// statStatements are those of stats.go, peek.go and upkeep.go.
type statStatements struct {
	tables, count, countAll string
	waiting, leased         peekStatements
	one                     string
	upkeep, upkeepDead      string
}

func fillStats(fill func(string) string) statStatements {
	without := strings.NewReplacer("{first dead}", "NULL", "{next dead}", "NULL", "{count dead}", "0", "{buried}", "0")
	with := strings.NewReplacer(
		"{first dead}", "(SELECT min(d.queue) FROM {dlq} AS d)",
		"{next dead}", "(SELECT min(d.queue) FROM {dlq} AS d WHERE d.queue > f.queue)",
		"{count dead}", `
         (SELECT count(*) FROM (
            SELECT FROM {dlq} AS d
            WHERE (d.queue, d.failed_at) >= (n.queue, '-infinity') AND (d.queue, d.failed_at) <= (n.queue, 'infinity')
            ORDER BY d.queue DESC, d.failed_at DESC LIMIT (SELECT $3::bigint + 1)) AS r)`,
		"{buried}", "pg_stat_get_tuples_inserted({dlq_regclass}::regclass)",
	)
	s := statStatements{
		tables:   fill(tablesSQL),
		count:    fill(without.Replace(statsSQL)),
		countAll: fill(with.Replace(statsSQL)),
		one:      fill(peekIDSQL),
	}
	s.waiting, s.leased = fillPeek(fill)
	s.upkeep, s.upkeepDead = fillUpkeep(fill)
	return s
}

// tablesSQL asks for the dead-letter table before anything is read from it: a
// statement that fails would end the caller's transaction.
const tablesSQL = `
SELECT to_regclass({dlq_regclass}) IS NOT NULL,
       COALESCE(has_table_privilege(to_regclass({dlq_regclass}), 'SELECT'), false)`

// Readable says whether there is a dead-letter table, and whether the role may
// read it.
func (t *Table) Readable(ctx context.Context, db Rower) (exists, may bool, err error) {
	err = db.QueryRow(ctx, t.sql.stats.tables).Scan(&exists, &may)
	return exists, may, err
}

// statsSQL finds the queues by going from one name to the next on three indexes,
// however many rows lie between, one more than are wanted; or takes those it is
// given ($1). Then it counts up to a limit in each.
//
// due and leased are counted off the indexes alone. No index knows of attempts, so
// what waits for a retry and what never failed are told apart in one walk over
// rows, from the soonest: a retry is due soon, as a rule, and so is met first.
var statsSQL = `
WITH RECURSIVE found (queue, n) AS (
  SELECT LEAST((SELECT min(o.queue) FROM {outbox} AS o WHERE o.acquired_token IS NULL),
               (SELECT min(o.queue) FROM {outbox} AS o WHERE o.acquired_token IS NOT NULL),
               {first dead}), 1
  WHERE $1::text IS NULL
  UNION ALL
  SELECT LEAST((SELECT min(o.queue) FROM {outbox} AS o WHERE o.acquired_token IS NULL AND o.queue > f.queue),
               (SELECT min(o.queue) FROM {outbox} AS o WHERE o.acquired_token IS NOT NULL AND o.queue > f.queue),
               {next dead}), f.n + 1
  FROM found AS f WHERE f.queue IS NOT NULL AND f.n <= $2::int
), name AS (
  SELECT f.queue, f.n AS ord FROM found AS f WHERE f.queue <> ` + pausedMark + ` AND f.n <= $2::int
  UNION ALL
  SELECT q.queue, q.ord FROM jsonb_array_elements_text($1::text::jsonb) WITH ORDINALITY AS q(queue, ord)
)
SELECT ` + micros("statement_timestamp()") + `,
       EXISTS (SELECT FROM found AS f WHERE f.queue IS NOT NULL AND f.n > $2::int),
       pg_stat_get_tuples_inserted({outbox_regclass}::regclass),
       pg_stat_get_tuples_deleted({outbox_regclass}::regclass),
       {buried},
       (SELECT json_agg(json_build_array(n.queue,
         (SELECT count(*) FROM (
            SELECT FROM {outbox} AS o
            WHERE o.acquired_token IS NULL AND (o.queue, o.next_attempt_at) >= (n.queue, '-infinity')
              AND (o.queue, o.next_attempt_at) <= (n.queue, statement_timestamp())
            ORDER BY o.queue DESC, o.next_attempt_at DESC LIMIT (SELECT $3::bigint + 1)) AS r),
         (SELECT count(*) FROM (
            SELECT FROM {outbox} AS o
            WHERE o.acquired_token IS NOT NULL AND (o.queue, o.acquired_at) >= (n.queue, '-infinity')
              AND (o.queue, o.acquired_at) <= (n.queue, 'infinity')
            ORDER BY o.queue DESC, o.acquired_at DESC LIMIT (SELECT $3::bigint + 1)) AS r),
         (SELECT count(*) FROM (
            SELECT FROM {outbox} AS o
            WHERE o.acquired_token IS NOT NULL AND (o.queue, o.acquired_at) >= (n.queue, '-infinity')
              AND (o.queue, o.acquired_at) < (n.queue, statement_timestamp() - make_interval(secs => $4::float8))
            ORDER BY o.queue DESC, o.acquired_at DESC LIMIT (SELECT $3::bigint + 1)) AS r),
         later.fresh, later.failed, {count dead},
         (SELECT extract(epoch FROM statement_timestamp() - r.at) FROM (
            SELECT o.next_attempt_at AS at FROM {outbox} AS o
            WHERE o.acquired_token IS NULL AND o.queue = n.queue
              AND o.next_attempt_at > '-infinity' AND o.next_attempt_at <= statement_timestamp()
            ORDER BY o.next_attempt_at LIMIT 1) AS r),
         (SELECT extract(epoch FROM statement_timestamp() - r.at) FROM (
            SELECT o.acquired_at AS at FROM {outbox} AS o
            WHERE o.acquired_token IS NOT NULL AND o.queue = n.queue
              AND o.acquired_at > '-infinity' AND o.acquired_at < 'infinity'
            ORDER BY o.acquired_at LIMIT 1) AS r),
         (SELECT ` + micros("mark.created_at") + ` FROM {outbox} AS mark
          WHERE mark.queue = ` + pausedMark + ` AND mark.timer_id = n.queue)
       ) ORDER BY n.ord)
       FROM generate_series(1, $5::int)
       CROSS JOIN name AS n
       CROSS JOIN LATERAL (
         SELECT count(*) FILTER (WHERE r.attempts_count <= 0) AS fresh, count(*) FILTER (WHERE r.attempts_count > 0) AS failed
         FROM (SELECT o.attempts_count FROM {outbox} AS o
               WHERE o.acquired_token IS NULL AND (o.queue, o.next_attempt_at) > (n.queue, statement_timestamp())
                 AND (o.queue, o.next_attempt_at) <= (n.queue, 'infinity')
                 AND (o.queue, o.next_attempt_at) <= (n.queue, GREATEST('infinity', statement_timestamp()))
               ORDER BY o.queue, o.next_attempt_at LIMIT (SELECT $3::bigint + 1)) AS r
       ) AS later
       WHERE n.ord * 0 = 0)::text`

// Looked is what [Table.Stats] is to look at.
type Looked struct {
	// Queues are those to count; nil: all there are, up to MaxQueues.
	Queues    []string
	MaxQueues int
	// Cap is how far each count goes. One more means that there are more.
	Cap int64
	// Lease is after how long a lease counts as run out.
	Lease time.Duration
	// Dead adds the dead letters.
	Dead bool
}

// Counted is what a queue holds. Of Scheduled and Retrying, the sum goes as far as
// the cap, and one further.
type Counted struct {
	Queue                                             string
	Due, Leased, Expired, Scheduled, Retrying, Buried int64
	// OldestDue and OldestLease are ages.
	OldestDue, OldestLease time.Duration
	PausedSince            time.Time // zero: it is not paused
}

// Snapshot is an outbox at one moment of the database's clock.
type Snapshot struct {
	At     time.Time
	Queues []Counted
	// More says that there are more than MaxQueues.
	More bool
	// Inserted and Deleted are rows of the table, Buried those that were inserted
	// into the dead-letter table, since the statistics began.
	Inserted, Deleted, Buried int64
}

// Stats counts. No row is locked.
func (t *Table) Stats(ctx context.Context, db Rower, l Looked) (s Snapshot, err error) {
	query := t.sql.stats.count
	if l.Dead {
		query = t.sql.stats.countAll
	}
	var at *int64
	var queues *string
	err = db.QueryRow(ctx, query, l.args()...).Scan(&at, &s.More, &s.Inserted, &s.Deleted, &s.Buried, &queues)
	if err != nil || queues == nil {
		s.At = fromMicros(at)
		return s, err
	}
	s.At = fromMicros(at)
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(*queues), &raw); err != nil {
		return s, fmt.Errorf("read counts: %w", err)
	}
	s.Queues = make([]Counted, len(raw))
	for i := range raw {
		if err := s.Queues[i].read(raw[i]); err != nil {
			return s, fmt.Errorf("read counts: %w", err)
		}
	}
	return s, nil
}

// args are $1 to $5.
func (l *Looked) args() []any {
	var names *string
	if l.Queues != nil {
		text := jsonStrings(l.Queues)
		names = &text
	}
	return []any{names, l.MaxQueues, l.Cap, l.Lease.Seconds(), 1}
}

func (c *Counted) read(row json.RawMessage) error {
	var due, lease *float64
	var paused *int64
	fields := []any{&c.Queue, &c.Due, &c.Leased, &c.Expired, &c.Scheduled, &c.Retrying, &c.Buried, &due, &lease, &paused}
	want := len(fields)
	if err := json.Unmarshal(row, &fields); err != nil {
		return err
	}
	if len(fields) != want {
		return fmt.Errorf("%d fields, not %d", len(fields), want)
	}
	if due != nil {
		c.OldestDue = max(0, seconds(*due))
	}
	if lease != nil {
		c.OldestLease = max(0, seconds(*lease))
	}
	c.PausedSince = fromMicros(paused)
	return nil
}
