package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// A page of messages is in the order of (time, id), where the time is that of the
// index: <t>_pending_idx has next_attempt_at of what waits, <t>_lease_idx has
// acquired_at of what is leased. Neither orders rows of one time by id, and a bulk
// insert gives a million rows one time, so there are two statements, each of which
// reads a bounded number of rows:
//
//   - walk reads rows off the index. Where that ends within the rows of one time, it
//     shows what comes before these.
//   - Where nothing comes before these, it is a tie too large to sort, and tie reads
//     it in the order of ids off the primary key, and passes over what is not of it.
//     It starts at a pivot, the lowest id that walk happened to see, since a bulk
//     insert leaves its rows together there; then it takes those below the pivot.
//
// Either may find few rows, or none, and more behind: it says where to go on.

// fillPeek makes the statements for what waits and those for what is leased.
func fillPeek(fill func(string) string) (waiting, leased peekStatements) {
	both := func(at, held string) peekStatements {
		r := strings.NewReplacer("{at}", at, "{held}", held)
		return peekStatements{walk: fill(r.Replace(walkSQL)), tie: fill(r.Replace(tieSQL))}
	}
	return both("next_attempt_at", "IS NULL"), both("acquired_at", "IS NOT NULL")
}

type peekStatements struct{ walk, tie string }

// walkSQL takes up to $6 rows off the index from a place on ($4, $5). Of the times
// that it read whole, the rows that are due ($2) or are not, or all, and have failed
// ($3) or have not, or all, are hits. It returns whether there may be more, the last
// such time, and the time and the pivot of a tie where there is none.
//
// An index scan does not end at a row comparison that fails in its second column, so
// what is due is told apart behind it: it comes first.
var walkSQL = `
WITH walk AS MATERIALIZED (
  SELECT r.id, r.at, r.attempts_count
  FROM generate_series(1, $9::int), unnest(ARRAY[$1::text]) AS n(queue)
  CROSS JOIN LATERAL (
    SELECT o.id, o.{at} AS at, o.attempts_count
    FROM {outbox} AS o
    WHERE o.acquired_token {held}
      AND (o.queue, o.{at}) >= (n.queue, GREATEST($4::text::timestamptz,
        CASE WHEN NOT $2::bool THEN statement_timestamp() + interval '1 microsecond' ELSE '-infinity' END))
      AND (o.queue, o.{at}) <= (n.queue, 'infinity')
      AND (o.queue, o.{at}) <= (n.queue, GREATEST('infinity', statement_timestamp()))
    ORDER BY o.queue, o.{at}
    LIMIT (SELECT $6::bigint)) AS r
), edge AS MATERIALIZED (
  SELECT CASE WHEN count(*) = $6::bigint AND ($2::bool IS NOT TRUE OR max(walk.at) <= statement_timestamp())
         THEN max(walk.at) END AS at FROM walk
), hit AS MATERIALIZED (
  SELECT walk.id, walk.at FROM walk, edge
  WHERE (edge.at IS NULL OR walk.at < edge.at) AND ($2::bool IS NOT TRUE OR walk.at <= statement_timestamp())
    AND (walk.at, walk.id) > ($4::text::timestamptz, $5::bigint)
    AND ($3::bool IS NULL OR (walk.attempts_count > 0) = $3::bool)
  ORDER BY walk.at, walk.id
  LIMIT $7::bigint + 1
), ` + pageSQL + `,
       (SELECT edge.at IS NOT NULL FROM edge),
       (SELECT ` + timeText("max(walk.at)") + ` FROM walk, edge WHERE walk.at < edge.at),
       (SELECT ` + timeText("edge.at") + ` FROM edge),
       (SELECT COALESCE(min(walk.id), 0) FROM walk)
` + pageRowsSQL

// tieSQL takes up to $6 rows off the primary key, of ids above $5 and up to $2; those
// of the queue and the time $4, failed or not ($3), are hits. It returns whether
// there may be more, and the last id.
var tieSQL = `
WITH walk AS MATERIALIZED (
  SELECT r.*
  FROM generate_series(1, $9::int), unnest(ARRAY[$5::bigint], ARRAY[$2::bigint]) AS n(above, until)
  CROSS JOIN LATERAL (
    SELECT o.id, o.queue, o.acquired_token, o.{at} AS at, o.attempts_count
    FROM {outbox} AS o WHERE o.id > n.above AND o.id <= n.until
    ORDER BY o.id
    LIMIT (SELECT $6::bigint)) AS r
), hit AS MATERIALIZED (
  SELECT walk.id, walk.at FROM walk
  WHERE walk.queue = $1::text AND walk.acquired_token {held} AND walk.at = $4::text::timestamptz
    AND ($3::bool IS NULL OR (walk.attempts_count > 0) = $3::bool)
  ORDER BY walk.id
  LIMIT $7::bigint + 1
), ` + pageSQL + `,
       (SELECT count(*) = $6::bigint FROM walk), NULL::text, NULL::text,
       (SELECT COALESCE(max(walk.id), 0) FROM walk)
` + pageRowsSQL

// pageSQL cuts the hits to a page of up to $7 rows whose payloads do not pass $8
// bytes together: their lengths are known without reading them.
var pageSQL = `page AS MATERIALIZED (
  SELECT r.id, r.at FROM (
    SELECT hit.id, hit.at, sum(length(o.payload)) OVER w AS bytes, row_number() OVER w AS nth
    FROM hit JOIN {outbox} AS o ON o.id = hit.id
    WINDOW w AS (ORDER BY hit.at, hit.id)) AS r
  WHERE r.nth <= $7::bigint AND (r.bytes <= $8::bigint OR r.nth = 1)
)
SELECT json_agg(` + timerFieldsSQL + ` ORDER BY page.at, page.id)::text,
       string_agg(o.payload, ''::bytea ORDER BY page.at, page.id),
       ` + micros("statement_timestamp()") + `,
       (SELECT count(*) FROM page) < (SELECT count(*) FROM hit),
       (SELECT ` + timeText("max(page.at)") + ` FROM page),
       (SELECT page.id FROM page ORDER BY page.at DESC, page.id DESC LIMIT 1)`

const pageRowsSQL = `FROM page JOIN {outbox} AS o ON o.id = page.id`

// timeText writes a time as [PeekPlace] has it.
func timeText(at string) string {
	return `CASE WHEN isfinite(` + at + `) THEN (extract(epoch FROM ` + at + `) * 1000000)::bigint::text
              WHEN ` + at + ` > now() THEN 'infinity' WHEN ` + at + ` < now() THEN '-infinity' END`
}

// tieWalk is how many rows of the primary key are read for a page of a tie.
const tieWalk = 10_000

// Peeked says what [Table.Peek] is to show.
type Peeked struct {
	Queue string
	// Leased shows what workers have, by the time of the claim; else what waits,
	// by due time.
	Leased bool
	// Due and Failed narrow what waits, where they are not nil.
	Due, Failed *bool
	// Beyond is where to begin.
	Beyond PeekPlace
	// Size is the most messages, Walk the most rows read, which is more, and Bytes
	// where the payloads of a page end.
	Size, Walk int
	Bytes      int64
}

// peekPage is what both statements return. They say themselves what more, last, tie
// and id are.
type peekPage struct {
	rows      []store.StoredTimer
	at        time.Time
	cut       bool   // there are more hits, beyond the last row
	shown     string // the last row's time
	shownID   int64
	more      bool
	last, tie string
	id        int64
}

// Peek returns messages, the database's clock, and where the next page begins: nil
// where this one is the last.
func (t *Table) Peek(ctx context.Context, db Rower, p Peeked) (rows []store.StoredTimer, at time.Time, next *PeekPlace, err error) {
	sql := t.sql.stats.waiting
	if p.Leased {
		sql = t.sql.stats.leased
	}
	switch {
	case p.Beyond.Tie:
		return p.readTie(ctx, db, sql.tie)
	case p.Beyond.At == "infinity" && p.Beyond.ID == lastID:
		return nil, at, nil, nil
	}
	from, id := p.Beyond.from()
	page, err := readPage(ctx, db, sql.walk, p.Queue, p.Due, p.Failed, from, id, p.Walk, p.Size, p.Bytes, 1)
	switch {
	case err != nil:
		return nil, at, nil, err
	case page.cut:
		next = &PeekPlace{At: page.shown, ID: page.shownID}
	case page.more && page.last != "":
		next = &PeekPlace{At: page.last, ID: lastID}
	case page.more:
		tie := PeekPlace{At: page.tie, ID: page.id - 1, Tie: true, Pivot: page.id}
		if p.Beyond.At == page.tie { // it was small when its first part was shown
			tie.ID, tie.Pivot = p.Beyond.ID, math.MinInt64
		}
		p.Beyond = tie
		return p.readTie(ctx, db, sql.tie)
	}
	return page.rows, page.at, next, nil
}

// readTie reads on in a tie.
func (p *Peeked) readTie(ctx context.Context, db Rower, sql string) (rows []store.StoredTimer, at time.Time, next *PeekPlace, err error) {
	here, until := p.Beyond, int64(math.MaxInt64)
	if here.Below {
		until = here.Pivot - 1
	}
	page, err := readPage(ctx, db, sql, p.Queue, until, p.Failed, PeekPlace{At: here.At}.time(), here.ID,
		max(p.Walk, tieWalk), p.Size, p.Bytes, 1)
	if err != nil {
		return nil, at, nil, err
	}
	next = &here
	switch {
	case page.cut:
		next.ID = page.shownID
	case page.more:
		next.ID = page.id
	case !here.Below && here.Pivot != math.MinInt64:
		next.ID, next.Below = math.MinInt64, true
	default:
		next = &PeekPlace{At: here.At, ID: lastID}
	}
	return page.rows, page.at, next, nil
}

func readPage(ctx context.Context, db Rower, sql string, args ...any) (p peekPage, err error) {
	var raw, shown, last, tie *string
	var payloads []byte
	var at, shownID *int64
	err = db.QueryRow(ctx, sql, args...).Scan(&raw, &payloads, &at, &p.cut, &shown, &shownID, &p.more, &last, &tie, &p.id)
	if err != nil {
		return p, err
	}
	if raw != nil {
		if p.rows, err = readStored(*raw, payloads); err != nil {
			return p, err
		}
		p.shown, p.shownID = *shown, *shownID
	}
	if last != nil {
		p.last = *last
	}
	if tie != nil {
		p.tie = *tie
	}
	p.at = fromMicros(at)
	return p, nil
}

var peekIDSQL = `
SELECT ` + micros("statement_timestamp()") + `, ` + timerFieldsSQL + `::text, o.payload
FROM generate_series(1, $3::int)
CROSS JOIN LATERAL (SELECT * FROM {outbox} WHERE id = $1::bigint LIMIT 1) AS o
WHERE o.queue = $2::text`

// PeekID reads one message of a queue; nil: there is none.
func (t *Table) PeekID(ctx context.Context, db Rower, queue string, id int64) (*store.StoredTimer, time.Time, error) {
	var clock *int64
	var row string
	var s store.StoredTimer
	err := db.QueryRow(ctx, t.sql.stats.one, id, queue, 1).Scan(&clock, &row, &s.Payload)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	if _, err := readTimer(&s, json.RawMessage(row)); err != nil {
		return nil, time.Time{}, fmt.Errorf("read a message: %w", err)
	}
	return &s, fromMicros(clock), nil
}
