package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Rower is the one thing a publish needs of a transaction. Every value that
// has it can publish: pgx.Tx as it is, *sql.Tx behind a small adapter.
type Rower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// copier is the faster way for large batches, found by assertion.
type copier interface {
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
}

// Batch sizes. COPY overtakes the joined statement between one and ten
// thousand rows (it costs three more round trips); a statement carries at most
// chunkRows rows and about chunkBytes bytes, so that neither side has to hold
// a batch of 100,000 twice.
const (
	copyFrom   = 2_000
	chunkRows  = 5_000
	chunkBytes = 8 << 20
)

// publishOneSQL: every parameter is cast, because drivers differ in what they
// infer. INSERT and NOTIFY are one statement, so a publish is one round trip;
// PostgreSQL itself folds equal notifications of a transaction into one.
const publishOneSQL = `
INSERT INTO {outbox} (queue, payload, headers, next_attempt_at)
VALUES ($1::text, $2::bytea, $3::text::jsonb,
        COALESCE($4::timestamptz, now() + make_interval(secs => $5::float8)))
RETURNING id, {tell:$1::text}`

// publishManySQL takes no array parameters, which drivers encode differently,
// but one bytea that holds queue, payload and headers of every row end to end,
// and the text of arrays with where each begins and how long its parts are.
// nextval is drawn above the sort, so ids come in the order of the rows.
// The notification has a CTE of its own: in RETURNING it would run once a row.
const publishManySQL = `
WITH row AS (
  SELECT convert_from(substr($1::bytea, s, ql), 'UTF8') AS queue,
         substr($1::bytea, s + ql, pl) AS payload,
         convert_from(substr($1::bytea, s + ql + pl, hl), 'UTF8')::jsonb AS headers,
         COALESCE(at, now() + make_interval(secs => COALESCE(delay, 0))) AS due, ord
  FROM unnest($2::text::int[], $3::text::int[], $4::text::int[], $5::text::int[],
              $6::text::float8[], $7::text::timestamptz[])
       WITH ORDINALITY AS u(s, ql, pl, hl, delay, at, ord)
), written AS (
  INSERT INTO {outbox} (queue, payload, headers, next_attempt_at)
  SELECT queue, payload, headers, due FROM row ORDER BY ord
  RETURNING id, queue
), told AS (
  SELECT count({tell:queue}) AS n
  FROM (SELECT DISTINCT queue FROM written) AS q
)
SELECT string_agg(id::text, ',' ORDER BY id), (SELECT n FROM told) FROM written`

// reserveSQL draws ids for COPY, which returns none, and tells the queues. A
// role that may only INSERT has no USAGE on the sequence of an identity column:
// then no id comes back and the joined statement serves instead.
const reserveSQL = `
WITH s AS (SELECT pg_get_serial_sequence({outbox_regclass}, 'id') AS name),
may AS (SELECT name FROM s WHERE name IS NOT NULL AND has_sequence_privilege(name, 'USAGE')),
told AS (
  SELECT count({tell:q}) AS n
  FROM may, jsonb_array_elements_text($2::text::jsonb) AS q
)
SELECT (SELECT string_agg(id::text, ',' ORDER BY id)
        FROM (SELECT nextval(may.name::regclass) AS id FROM may, generate_series(1, $1::int)) AS ids),
       now(), (SELECT n FROM told)`

// Publish writes the drafts in the transaction of tx and returns their ids in
// order. Drafts carry no timer id. One statement per few thousand rows, or
// COPY where tx offers it and there are many.
func (t *Table) Publish(ctx context.Context, tx Rower, drafts []store.Draft) ([]int64, error) {
	switch c, ok := tx.(copier); {
	case len(drafts) == 0:
		return nil, nil
	case len(drafts) == 1:
		id, err := t.publishOne(ctx, tx, &drafts[0])
		if err != nil {
			return nil, err
		}
		return []int64{id}, nil
	case ok && len(drafts) >= copyFrom:
		ids, err := t.publishCopy(ctx, tx, c, drafts)
		if ids != nil || err != nil {
			return ids, err
		}
	}
	ids := make([]int64, 0, len(drafts))
	for len(drafts) > 0 {
		n := chunk(drafts)
		var err error
		if ids, err = t.publishMany(ctx, tx, drafts[:n], ids); err != nil {
			return nil, err
		}
		drafts = drafts[n:]
	}
	return ids, nil
}

// FitsOneStatement says whether [Table.Publish] writes the drafts in a single
// statement, which needs no transaction around it to be atomic.
func FitsOneStatement(drafts []store.Draft) bool { return chunk(drafts) == len(drafts) }

// chunk says how many of the drafts go into the next statement; at least one.
func chunk(drafts []store.Draft) int {
	size := 0
	for i := range drafts {
		size += len(drafts[i].Payload) + len(drafts[i].Headers)
		if i > 0 && (i == chunkRows || size > chunkBytes) {
			return i
		}
	}
	return len(drafts)
}

func (t *Table) publishOne(ctx context.Context, tx Rower, d *store.Draft) (int64, error) {
	var (
		id   int64
		told *string
		at   *time.Time
	)
	if !d.At.IsZero() {
		at = &d.At
	}
	err := tx.QueryRow(ctx, t.sql.publishOne,
		d.Queue, notNil(d.Payload), string(d.Headers), at, d.Delay.Seconds()).Scan(&id, &told)
	return id, err
}

func (t *Table) publishMany(ctx context.Context, tx Rower, drafts []store.Draft, ids []int64) ([]int64, error) {
	j := join(drafts)
	var (
		list string
		told *int64
	)
	err := tx.QueryRow(ctx, t.sql.publishMany, j.bytes, j.start.String(), j.queue.String(), j.payload.String(),
		j.headers.String(), j.delay.String(), j.at.String()).Scan(&list, &told)
	if err != nil {
		return nil, err
	}
	return appendIDs(ids, list, len(drafts))
}

// publishCopy returns nil ids where the role may not draw them.
func (t *Table) publishCopy(ctx context.Context, tx Rower, c copier, drafts []store.Draft) ([]int64, error) {
	var (
		list *string
		told *int64
		now  time.Time
	)
	queues := jsonStrings(distinctQueues(drafts))
	if err := tx.QueryRow(ctx, t.sql.reserve, len(drafts), queues).Scan(&list, &now, &told); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, nil
	}
	ids, err := appendIDs(make([]int64, 0, len(drafts)), *list, len(drafts))
	if err != nil {
		return nil, err
	}
	columns := []string{"id", "queue", "payload", "headers", "next_attempt_at"}
	rows := &copyRows{drafts: drafts, ids: ids, now: now}
	if _, err := c.CopyFrom(ctx, t.identifier(), columns, rows); err != nil {
		return nil, err
	}
	return ids, nil
}

// copyRows feeds COPY. The values of a row are read before the next is asked for,
// so all rows share theirs.
type copyRows struct {
	drafts []store.Draft
	ids    []int64
	now    time.Time
	next   int

	id      copyInt
	queue   copyText
	payload copyBytes
	headers copyBytes
	due     copyTime
	values  []any
}

func (r *copyRows) Next() bool {
	if r.next == len(r.drafts) {
		return false
	}
	d := &r.drafts[r.next]
	r.id, r.queue, r.payload, r.headers = copyInt(r.ids[r.next]), copyText(d.Queue), notNil(d.Payload), d.Headers
	if r.due = copyTime(d.At); d.At.IsZero() {
		r.due = copyTime(r.now.Add(d.Delay))
	}
	r.next++
	return true
}

func (r *copyRows) Values() ([]any, error) {
	if r.values == nil {
		r.values = []any{&r.id, &r.queue, &r.payload, &r.headers, &r.due}
	}
	return r.values, nil
}

func (r *copyRows) Err() error { return nil }

// What pgx encodes without boxing it first.
type (
	copyInt   int64
	copyText  string
	copyBytes []byte
	copyTime  time.Time
)

func (v *copyInt) Int64Value() (pgtype.Int8, error) {
	return pgtype.Int8{Int64: int64(*v), Valid: true}, nil
}

func (v *copyText) TextValue() (pgtype.Text, error) {
	return pgtype.Text{String: string(*v), Valid: true}, nil
}

func (v *copyBytes) BytesValue() ([]byte, error) { return *v, nil }

func (v *copyTime) TimestamptzValue() (pgtype.Timestamptz, error) {
	return pgtype.Timestamptz{Time: time.Time(*v), Valid: true}, nil
}

// joined is a batch in the form that publishManySQL takes.
type joined struct {
	bytes                                     []byte
	start, queue, payload, headers, delay, at array
}

func join(drafts []store.Draft) *joined {
	size, delays, times := 0, false, false
	for i := range drafts {
		d := &drafts[i]
		size += len(d.Queue) + len(d.Payload) + len(d.Headers)
		delays = delays || d.Delay != 0
		times = times || !d.At.IsZero()
	}
	j := &joined{bytes: make([]byte, 0, size)}
	for i := range drafts {
		d := &drafts[i]
		j.start.int(len(j.bytes) + 1)
		j.queue.int(len(d.Queue))
		j.payload.int(len(d.Payload))
		j.headers.int(len(d.Headers))
		if delays {
			j.delay.float(d.Delay.Seconds())
		}
		if times {
			j.at.time(d.At)
		}
		j.bytes = append(j.bytes, d.Queue...)
		j.bytes = append(j.bytes, d.Payload...)
		j.bytes = append(j.bytes, d.Headers...)
	}
	return j
}

// array builds the text of a PostgreSQL array of plain values. An empty one
// is all NULLs to unnest, which pads to the longest.
type array struct{ text []byte }

func (a *array) next() {
	if len(a.text) == 0 {
		a.text = append(a.text, '{')
	} else {
		a.text = append(a.text, ',')
	}
}

func (a *array) int(n int)       { a.next(); a.text = strconv.AppendInt(a.text, int64(n), 10) }
func (a *array) float(f float64) { a.next(); a.text = strconv.AppendFloat(a.text, f, 'g', -1, 64) }

// time appends an instant, NULL for the zero time.
func (a *array) time(at time.Time) {
	a.next()
	if at.IsZero() {
		a.text = append(a.text, "NULL"...)
		return
	}
	a.text = at.UTC().AppendFormat(a.text, `"2006-01-02 15:04:05.999999+00"`)
}

func (a *array) String() string {
	if len(a.text) == 0 {
		return "{}"
	}
	return string(a.text) + "}"
}

// appendIDs reads a comma-separated list of want ids.
func appendIDs(ids []int64, list string, want int) ([]int64, error) {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the ids that came back: %w", err)
		}
		ids = append(ids, id)
		n++
	}
	if n != want {
		return nil, fmt.Errorf("wrote %d messages but %d ids came back", want, n)
	}
	return ids, nil
}

func distinctQueues(drafts []store.Draft) []string {
	seen := map[string]bool{}
	var queues []string
	for i := range drafts {
		if q := drafts[i].Queue; !seen[q] {
			seen[q] = true
			queues = append(queues, q)
		}
	}
	return queues
}

// notNil keeps an empty payload from becoming NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// jsonStrings is a JSON array of strings.
func jsonStrings(s []string) string {
	text, _ := json.Marshal(s) // strings always encode
	return string(text)
}
