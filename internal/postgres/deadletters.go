package postgres

import (
	"cmp"
	"context"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Querier runs statements on what is left behind: a pool, a connection or a
// transaction of pgx.
type Querier interface {
	Rower
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// letterStatements are those of this file and of replay.go.
type letterStatements struct {
	scope, count, newest, oldest, one, purge string
	replay, replayByID                       string
}

func fillLetters(fill func(string) string) letterStatements {
	newest := strings.NewReplacer("{beyond}", "<", "{way}", "DESC").Replace
	oldest := strings.NewReplacer("{beyond}", ">", "{way}", "ASC").Replace
	return letterStatements{
		scope:      fill(letterScopeSQL),
		count:      fill(countLettersSQL),
		newest:     fill(newest(listLettersSQL)),
		oldest:     fill(oldest(listLettersSQL)),
		one:        fill(oneLetterSQL),
		purge:      fill(purgeLettersSQL),
		replay:     fill(pickLettersSQL + moveLettersSQL + lastPickedSQL),
		replayByID: fill(takeLettersSQL + moveLettersSQL + lockedLettersSQL),
	}
}

// letterConditionsSQL is a filter but for its queue, $1. The times are always
// given, infinite where they do not matter, so that they bound the index scan
// even in a plan that was made for no values in particular; LEAST passes over
// the age where that is null.
const letterConditionsSQL = `
      AND d.failed_at >= $2::timestamptz
      AND d.failed_at <= LEAST($3::timestamptz, now() - make_interval(secs => $4::float8))
      AND d.id <= $5::bigint
      AND ($6::text IS NULL OR d.failure_reason = $6::text)
      AND ($7::text IS NULL OR strpos(d.last_exception, $7::text) > 0)
      AND ($8::bigint[] IS NULL OR d.id = ANY($8::bigint[]))`

// letterArgs are $1 to $8, with the queue or queues in front.
func letterArgs(f *store.LetterFilter, queue any) []any {
	from, until := always(pgtype.NegativeInfinity), always(pgtype.Infinity)
	if !f.FailedFrom.IsZero() {
		from = pgtype.Timestamptz{Time: f.FailedFrom.Add(time.Microsecond - 1).Truncate(time.Microsecond), Valid: true}
	}
	if !f.FailedBefore.IsZero() { // the last microsecond before it, which is as fine as the column is
		until = pgtype.Timestamptz{Time: f.FailedBefore.Add(-1).Truncate(time.Microsecond), Valid: true}
	}
	var age, ids any
	if f.OlderThan != 0 {
		age = f.OlderThan.Seconds()
	}
	if f.IDs != nil {
		ids = f.IDs
	}
	return []any{queue, from, until, age, cmp.Or(f.Last, math.MaxInt64), orNull(f.Reason), orNull(f.Error), ids}
}

func always(m pgtype.InfinityModifier) pgtype.Timestamptz {
	return pgtype.Timestamptz{InfinityModifier: m, Valid: true}
}

// up and down are $9 to $11: where to go on, and how far.
func up(p store.Place, args []any, limit int) []any {
	if !p.Known {
		return append(args, always(pgtype.NegativeInfinity), int64(math.MinInt64), limit)
	}
	return append(args, toTimestamptz(p.FailedAt), p.ID, limit)
}

func down(p store.Place, args []any, limit int) []any {
	if !p.Known {
		return append(args, always(pgtype.Infinity), int64(math.MaxInt64), limit)
	}
	return append(args, toTimestamptz(p.FailedAt), p.ID, limit)
}

// toTimestamptz and placeAt translate a place's time.
func toTimestamptz(at int64) pgtype.Timestamptz {
	switch at {
	case math.MaxInt64:
		return always(pgtype.Infinity)
	case math.MinInt64:
		return always(pgtype.NegativeInfinity)
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(at), Valid: true}
}

// placeAt is the zero Place where the columns were null.
func placeAt(at pgtype.Timestamptz, id *int64) store.Place {
	if !at.Valid || id == nil {
		return store.Place{}
	}
	p := store.Place{Known: true, FailedAt: at.Time.UnixMicro(), ID: *id}
	switch {
	case at.InfinityModifier == pgtype.NegativeInfinity:
		p.FailedAt = math.MinInt64
	case at.InfinityModifier == pgtype.Infinity, at.Time.After(time.UnixMicro(math.MaxInt64)):
		p.FailedAt = math.MaxInt64
	}
	return p
}

// orNull makes the zero value NULL.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// letterScopeSQL names the queues that have letters by going from one to the
// next on <t>_queue_failed_idx, however many letters lie between, and takes the
// last id off the primary key.
const letterScopeSQL = `
WITH RECURSIVE name AS (
  SELECT COALESCE($1::text, (SELECT min(d.queue) FROM {dlq} AS d)) AS queue
  UNION ALL
  SELECT (SELECT min(d.queue) FROM {dlq} AS d WHERE d.queue > n.queue)
  FROM name AS n WHERE n.queue IS NOT NULL AND $1::text IS NULL
)
SELECT COALESCE(array_agg(queue ORDER BY queue) FILTER (WHERE queue IS NOT NULL), '{}'),
       (SELECT COALESCE(max(id), 0) FROM {dlq})
FROM name`

// LetterScope says which queues a filter is about and the highest id there is.
func (t *Table) LetterScope(ctx context.Context, db Querier, f store.LetterFilter) (queues []string, last int64, err error) {
	err = db.QueryRow(ctx, t.sql.letters.scope, orNull(f.Queue)).Scan(&queues, &last)
	return queues, last, err
}

// countLettersSQL reads all letters of the queues that lie within the times;
// <t>_queue_failed_idx bounds them.
const countLettersSQL = `
SELECT d.queue, d.failure_reason, count(*), min(d.failed_at), max(d.failed_at)
FROM {dlq} AS d
WHERE d.queue = ANY ($1::text[])` + letterConditionsSQL + `
GROUP BY d.queue, d.failure_reason
ORDER BY d.queue, d.failure_reason`

// CountLetters counts by queue and reason. queues are those of
// [Table.LetterScope].
func (t *Table) CountLetters(ctx context.Context, db Querier, queues []string, f store.LetterFilter) ([]store.LetterCount, error) {
	rows, err := db.Query(ctx, t.sql.letters.count, letterArgs(&f, queues)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c store.LetterCount, err error) {
		var oldest, newest instant
		err = row.Scan(&c.Queue, &c.Reason, &c.Letters, &oldest, &newest)
		c.Oldest, c.Newest = oldest.Time, newest.Time
		return c, err
	})
}

const letterColumns = `d.id, d.original_id, d.queue, d.payload, d.headers, d.deliveries_count, d.created_at, d.failed_at,
       d.failure_reason, d.last_exception, d.timer_id`

// listLettersSQL takes a page off <t>_queue_failed_idx for each queue, and of
// these the page. Rows are read whole only then, by primary key. {beyond} and
// {way} are < and DESC, or > and ASC.
const listLettersSQL = `
SELECT ` + letterColumns + `
FROM (
  SELECT found.id, found.failed_at
  FROM unnest($1::text[]) AS q(queue)
  CROSS JOIN LATERAL (
    SELECT d.id, d.failed_at
    FROM {dlq} AS d
    WHERE d.queue = q.queue` + letterConditionsSQL + `
      AND (d.failed_at, d.id) {beyond} ($9::timestamptz, $10::bigint)
    ORDER BY d.failed_at {way}, d.id {way}
    LIMIT $11
  ) AS found
  ORDER BY found.failed_at {way}, found.id {way}
  LIMIT $11
) AS page
JOIN {dlq} AS d ON d.id = page.id
ORDER BY page.failed_at {way}, page.id {way}`

// ListLetters returns up to limit letters beyond a place: older ones, or newer
// ones where oldestFirst says so. queues are those of [Table.LetterScope].
func (t *Table) ListLetters(ctx context.Context, db Querier, queues []string, f store.LetterFilter, beyond store.Place, oldestFirst bool, limit int) ([]store.Letter, error) {
	sql, args := t.sql.letters.newest, down(beyond, letterArgs(&f, queues), limit)
	if oldestFirst {
		sql, args = t.sql.letters.oldest, up(beyond, letterArgs(&f, queues), limit)
	}
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Letter, error) { return scanLetter(row) })
}

const oneLetterSQL = `
SELECT ` + letterColumns + `
FROM {dlq} AS d
WHERE d.id = $1::bigint AND ($2::text = '' OR d.queue = $2::text)`

// Letter reads one letter, of a queue where that is not empty. It is
// [pgx.ErrNoRows], or database/sql's, where there is none.
func (t *Table) Letter(ctx context.Context, db Rower, id int64, queue string) (store.Letter, error) {
	return scanLetter(db.QueryRow(ctx, t.sql.letters.one, id, queue))
}

func scanLetter(row pgx.Row) (l store.Letter, err error) {
	var created, failed pgtype.Timestamptz
	var text, timer *string
	err = row.Scan(&l.ID, &l.OriginalID, &l.Queue, &l.Payload, &l.Headers, &l.Deliveries, &created, &failed,
		&l.Reason, &text, &timer)
	if err != nil {
		return store.Letter{}, err
	}
	if created.InfinityModifier == pgtype.Finite {
		l.CreatedAt = created.Time.UTC()
	}
	if failed.InfinityModifier == pgtype.Finite {
		l.FailedAt = failed.Time.UTC()
	}
	l.Place = placeAt(failed, &l.ID)
	if text != nil {
		l.Error = *text
	}
	if timer != nil {
		l.TimerID = *timer
	}
	return l, nil
}

// purgeLettersSQL walks a queue in the order of <t>_queue_failed_idx and passes
// over letters that somebody has locked.
const purgeLettersSQL = `
WITH picked AS MATERIALIZED (
    SELECT d.id, d.failed_at
    FROM {dlq} AS d
    WHERE d.queue = $1::text` + letterConditionsSQL + `
      AND (d.failed_at, d.id) > ($9::timestamptz, $10::bigint)
    ORDER BY d.failed_at, d.id
    LIMIT $11
    FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM {dlq} AS d WHERE d.id = ANY (ARRAY(SELECT id FROM picked))
  RETURNING d.id
)
SELECT (SELECT count(*) FROM gone),` + lastPickedSQL

// lastPickedSQL says where the next batch begins, and whether there may be one.
const lastPickedSQL = `
       (SELECT count(*) FROM picked),
       (SELECT failed_at FROM picked ORDER BY failed_at DESC, id DESC LIMIT 1),
       (SELECT id FROM picked ORDER BY failed_at DESC, id DESC LIMIT 1)`

// PurgeLetters deletes up to limit letters of f.Queue beyond a place, oldest
// first, in one statement. It says where it came to, and whether it found as
// many as the limit: then there may be more.
func (t *Table) PurgeLetters(ctx context.Context, db Querier, f store.LetterFilter, beyond store.Place, limit int) (gone int64, last store.Place, more bool, err error) {
	var picked int
	var at pgtype.Timestamptz
	var id *int64
	err = db.QueryRow(ctx, t.sql.letters.purge, up(beyond, letterArgs(&f, f.Queue), limit)...).
		Scan(&gone, &picked, &at, &id)
	return gone, placeAt(at, id), picked >= limit, err
}
