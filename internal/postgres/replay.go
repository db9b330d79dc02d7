package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// pickLettersSQL is the first part of a replay by filter: it locks the next
// letters of a queue, in the order of <t>_queue_failed_idx, and passes over
// those that another replay or purge has locked.
const pickLettersSQL = `
WITH picked AS MATERIALIZED (
    SELECT d.id, d.failed_at, COALESCE($12::text, d.queue) AS queue,
           d.payload, d.headers, d.created_at, d.timer_id
    FROM {dlq} AS d
    WHERE d.queue = $1::text` + letterConditionsSQL + `
      AND (d.failed_at, d.id) > ($9::timestamptz, $10::bigint)
    ORDER BY d.failed_at, d.id
    LIMIT $11
    FOR UPDATE SKIP LOCKED
)`

// takeLettersSQL is the first part of a replay by id, found by primary key. It
// takes no array parameters, so that every driver can run it (see
// publishManySQL). Where payloads are replaced, they lie end to end in $2, each
// with its content type behind it; $3 to $5 say where they begin and how long
// the two parts are, and are empty otherwise.
const takeLettersSQL = `
WITH picked AS MATERIALIZED (
  SELECT d.id, d.failed_at, COALESCE(NULLIF($6::text, ''), d.queue) AS queue,
         CASE WHEN u.s IS NULL THEN d.payload ELSE substr($2::bytea, u.s, u.pl) END AS payload,
         CASE WHEN u.tl > 0
              THEN jsonb_set(CASE WHEN jsonb_typeof(d.headers) = 'object' THEN d.headers ELSE '{}' END,
                             '{content-type}', to_jsonb(convert_from(substr($2::bytea, u.s + u.pl, u.tl), 'UTF8')))
              ELSE d.headers END AS headers,
         d.created_at, d.timer_id
  FROM unnest($1::text::bigint[], $3::text::int[], $4::text::int[], $5::text::int[]) AS u(id, s, pl, tl)
  JOIN {dlq} AS d ON d.id = u.id
  WHERE $7::text = '' OR d.queue = $7::text
  FOR UPDATE OF d SKIP LOCKED
)`

// moveLettersSQL is the rest of every replay: what was picked goes back, and
// only what went back leaves the dead-letter table. The ids are drawn first, for
// they tell which rows the INSERT took: a letter whose timer id is live again
// conflicts on <t>_timer_id_uq, alone, and stays where it is. Attempts,
// deliveries and the due time are the columns' defaults. Timers go in by name, so
// that two replays that meet wait for each other one way only.
const moveLettersSQL = `, numbered AS MATERIALIZED (
  SELECT nextval((SELECT pg_get_serial_sequence({outbox_regclass}, 'id')::regclass)) AS message, p.*
  FROM (SELECT * FROM picked ORDER BY failed_at, id) AS p
), back AS (
  INSERT INTO {outbox} (id, queue, payload, headers, created_at, timer_id)
  OVERRIDING SYSTEM VALUE
  SELECT message, queue, payload, headers, created_at, timer_id FROM numbered ORDER BY queue, timer_id, message
  ON CONFLICT (queue, timer_id) WHERE timer_id IS NOT NULL DO NOTHING
  RETURNING id, queue
), gone AS (
  DELETE FROM {dlq} AS d
  WHERE d.id = ANY (ARRAY(SELECT n.id FROM numbered AS n JOIN back ON back.id = n.message))
  RETURNING d.id
), told AS (
  SELECT count({tell:queue}) AS n
  FROM (SELECT DISTINCT queue FROM back) AS q
)
SELECT (SELECT n FROM told),
       (SELECT string_agg(n.id || ':' || n.message, ',' ORDER BY n.message)
        FROM numbered AS n WHERE n.id IN (SELECT id FROM gone)),
       (SELECT string_agg(n.id::text, ',' ORDER BY n.message)
        FROM numbered AS n WHERE n.id NOT IN (SELECT id FROM gone)),`

// lockedLettersSQL ends a replay by id: letters that are there and were not
// picked are in the hands of another transaction.
const lockedLettersSQL = `
       (SELECT string_agg(d.id::text, ',' ORDER BY d.id) FROM {dlq} AS d
        WHERE d.id = ANY ($1::text::bigint[]) AND ($7::text = '' OR d.queue = $7::text)
          AND d.id NOT IN (SELECT id FROM picked))`

// ReplayLetters moves up to limit letters of f.Queue beyond a place, oldest
// first, to their queue or another, in one statement. It says where it came to,
// and whether it found as many as the limit: then there may be more.
func (t *Table) ReplayLetters(ctx context.Context, db Querier, f store.LetterFilter, beyond store.Place, limit int, to string) (done store.Replayed, last store.Place, more bool, err error) {
	var (
		told        int64
		moved, live *string
		picked      int
		at          pgtype.Timestamptz
		id          *int64
	)
	args := append(up(beyond, letterArgs(&f, f.Queue), limit), orNull(to))
	err = db.QueryRow(ctx, t.sql.letters.replay, args...).Scan(&told, &moved, &live, &picked, &at, &id)
	if err != nil {
		return store.Replayed{}, store.Place{}, false, err
	}
	if done.Moved, err = readMoved(moved); err == nil {
		done.Live, err = readIDs(live)
	}
	return done, placeAt(at, id), picked >= limit, err
}

// ReplayLettersByID moves the letters with these ids, each given once, in one
// statement: those of one queue where from is not empty. fixes is nil, or has one
// for each id. A letter that is in none of the answer's lists is not there.
func (t *Table) ReplayLettersByID(ctx context.Context, tx Rower, ids []int64, fixes []store.Fix, from, to string) (done store.Replayed, err error) {
	var (
		wanted, start, payload, kind array
		told                         int64
		moved, live, locked          *string
	)
	for _, id := range ids {
		wanted.int64(id)
	}
	bytes := []byte{}
	for _, f := range fixes {
		start.int(len(bytes) + 1)
		payload.int(len(f.Payload))
		kind.int(len(f.ContentType))
		bytes = append(bytes, f.Payload...)
		bytes = append(bytes, f.ContentType...)
	}
	err = tx.QueryRow(ctx, t.sql.letters.replayByID, wanted.String(), bytes,
		start.String(), payload.String(), kind.String(), to, from).Scan(&told, &moved, &live, &locked)
	if err != nil {
		return store.Replayed{}, err
	}
	if done.Moved, err = readMoved(moved); err != nil {
		return done, err
	}
	if done.Live, err = readIDs(live); err != nil {
		return done, err
	}
	done.Locked, err = readIDs(locked)
	return done, err
}

func (a *array) int64(n int64) { a.next(); a.text = strconv.AppendInt(a.text, n, 10) }

// readMoved reads "letter:message,letter:message".
func readMoved(list *string) ([]store.Moved, error) {
	if list == nil {
		return nil, nil
	}
	moved := make([]store.Moved, 0, 1+strings.Count(*list, ","))
	for part := range strings.SplitSeq(*list, ",") {
		letter, message, _ := strings.Cut(part, ":")
		l, err := strconv.ParseInt(letter, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the ids that came back: %w", err)
		}
		m, err := strconv.ParseInt(message, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the ids that came back: %w", err)
		}
		moved = append(moved, store.Moved{Letter: l, Message: m})
	}
	return moved, nil
}

// readIDs reads a list of any length; NULL is an empty one.
func readIDs(list *string) ([]int64, error) {
	if list == nil {
		return nil, nil
	}
	return appendIDs(nil, *list, 1+strings.Count(*list, ","))
}
