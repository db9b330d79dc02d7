package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// What follows reads all of a queue, which is for tests: no index is in this
// order, and there is no limit.

var listMessagesSQL = `
SELECT json_agg(` + timerFieldsSQL + ` ORDER BY o.id)::text, string_agg(o.payload, ''::bytea ORDER BY o.id), ` + micros("now()") + `
FROM {outbox} AS o WHERE o.queue = $1::text`

// ListMessages returns all messages of a queue that db sees, timers too, by id,
// and the time there.
func (t *Table) ListMessages(ctx context.Context, db Rower, queue string) ([]store.StoredTimer, time.Time, error) {
	var rows *string
	var payloads []byte
	var now *int64
	if err := db.QueryRow(ctx, t.sql.timers.messages, queue).Scan(&rows, &payloads, &now); err != nil || rows == nil {
		return nil, time.Time{}, err
	}
	list, err := readStored(*rows, payloads)
	return list, fromMicros(now), err
}

var listDeadSQL = `
SELECT json_agg(json_build_array(d.id, d.original_id, d.queue, length(d.payload), d.headers, d.deliveries_count,
         ` + micros("d.created_at") + `, ` + micros("d.failed_at") + `, d.failure_reason, d.last_exception, d.timer_id) ORDER BY d.id)::text,
       string_agg(d.payload, ''::bytea ORDER BY d.id)
FROM {dlq} AS d WHERE d.queue = $1::text`

// ListDeadLetters returns all dead letters of a queue that db sees, by id.
func (t *Table) ListDeadLetters(ctx context.Context, db Rower, queue string) ([]store.Letter, error) {
	var text *string
	var payloads []byte
	if err := db.QueryRow(ctx, t.sql.timers.dead, queue).Scan(&text, &payloads); err != nil || text == nil {
		return nil, err
	}
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(*text), &rows); err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	out := make([]store.Letter, len(rows))
	for i := range rows {
		l := &out[i]
		n, err := readLetter(l, rows[i])
		if err == nil && n > len(payloads) {
			err = fmt.Errorf("%d bytes of its payload are missing", n-len(payloads))
		}
		if err != nil {
			return nil, fmt.Errorf("read a dead letter: %w", err)
		}
		l.Payload, payloads = payloads[:n:n], payloads[n:]
	}
	return out, nil
}

// readLetter takes in what listDeadSQL wrote, and returns the payload's length.
func readLetter(l *store.Letter, row json.RawMessage) (payload int, err error) {
	var headers json.RawMessage
	var created, failed *int64
	var reason, timer *string
	fields := []any{&l.ID, &l.OriginalID, &l.Queue, &payload, &headers, &l.Deliveries, &created, &failed, &l.Reason, &reason, &timer}
	want := len(fields)
	if err := json.Unmarshal(row, &fields); err != nil {
		return 0, err
	}
	if len(fields) != want {
		return 0, fmt.Errorf("%d fields, not %d", len(fields), want)
	}
	if string(headers) != "null" {
		l.Headers = headers
	}
	if reason != nil {
		l.Error = *reason
	}
	if timer != nil {
		l.TimerID = *timer
	}
	l.CreatedAt, l.FailedAt = fromMicros(created), fromMicros(failed)
	return payload, nil
}
