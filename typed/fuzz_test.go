package typed_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// came is what a handler sees of a message.
type came struct {
	queue, timer, correlation string
	headers                   map[string]string
	payload                   string
}

// Whatever texts a message is made of, it comes out of PostgreSQL as it went in, by
// each way in, or is refused before anything is sent.
func FuzzMessage(f *testing.F) {
	f.Add("orders", "order-1", "correlation", "name", "value", []byte("payload"))
	f.Add(`"; DROP TABLE x; --`, `'; DROP TABLE x; --`, `\'`, `"`, `{"a": "b"}`, []byte("\x00\xff"))
	f.Add(" ", "\t", "\n", "\r\n", "\x01", []byte{})
	f.Add(strings.Repeat("😀", 255), strings.Repeat("é", 255), "\u2028", "e\u0301", "\ufeff\u202e", []byte("😀"))
	f.Add(strings.Repeat("a", 256), "t", "", "correlation_id", "\xed\xa0\x80", []byte(nil))
	f.Add("q\x00", "\xff", "\x00", "", "\ufffd\uffff", []byte("$1"))
	f.Add("{outbox}", "{dlq}", "$1", "E'\\", "$$", []byte(`\x00`))
	db := newDB(f)
	f.Fuzz(func(t *testing.T, name, timer, correlation, header, value string, payload []byte) {
		is := is.New(t)
		q := typed.NewQueue(name, codec.Bytes()).MaxBytes(1 << 20)
		opts := []queue.MessageOption{queue.CorrelationID(correlation), queue.Headers(map[string]string{header: value})}
		ctx := t.Context()
		err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			_, err1 := q.PublishBatch(ctx, tx, [][]byte{payload, payload}, opts[0], opts[1])
			_, err2 := q.Publish(ctx, tx, payload, opts[0], opts[1])
			_, err3 := q.ScheduleAfter(ctx, tx, timer, 0, payload, opts...)
			return errors.Join(err1, err2, err3)
		})
		fitting := text(name, 1, 255) && name != "letterbox.paused" && text(timer, 1, 255) && text(correlation, 0, 1<<20) && text(header, 1, 1<<20) && text(value, 0, 1<<20) &&
			header != queue.HeaderCorrelationID && header != queue.HeaderContentType && len(payload) <= 1<<20
		switch known := errors.Is(err, queue.ErrInvalidName) || errors.Is(err, timers.ErrInvalidID) || errors.Is(err, queue.ErrInvalidHeader); {
		case errors.Is(err, queue.ErrTooLarge):
			return
		case fitting != (err == nil), err != nil && !known:
			t.Fatalf("fitting: %v, but the error is %v", fitting, err)
		case err != nil:
			return
		}
		want := came{name, "", correlation, map[string]string{header: value, queue.HeaderContentType: "application/octet-stream", queue.HeaderCorrelationID: correlation}, string(payload)}
		timed := want
		timed.timer = timer

		live, ok, err := q.Timers().Get(ctx, db.Pool, timer)
		is.NoErr(err)
		is.True(ok)
		seen := came{live.Queue, live.TimerID, live.CorrelationID(), live.Headers(), string(live.Value)}
		if correlation == "" { // then one is made
			timed.correlation, timed.headers = seen.correlation, maps.Clone(timed.headers)
			timed.headers[queue.HeaderCorrelationID] = seen.correlation
			is.True(seen.correlation != "")
		}
		is.Equal(seen, timed)

		got := make(chan came, 4)
		stop := start(t, db.Pool, q.HandleMessage(func(_ context.Context, m *typed.Message[[]byte]) error {
			got <- came{m.Queue, m.TimerID, m.CorrelationID(), m.Headers(), string(m.Value)}
			return queue.Permanent(errBroken)
		}))
		for range 4 {
			m, want := next(t, got), want
			if want.timer = m.timer; m.timer != "" {
				want.timer = timer
			}
			if correlation == "" {
				want.correlation, want.headers = m.correlation, maps.Clone(want.headers)
				want.headers[queue.HeaderCorrelationID] = m.correlation
			}
			is.Equal(m, want)
		}
		eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
		is.NoErr(stop())

		letters, err := q.DeadLetters().List(ctx, db.Pool, dlq.Filter{Queue: name, ErrorContains: errBroken.Error()}, dlq.Page{})
		is.NoErr(err)
		is.Equal(len(letters), 4)
		for _, l := range letters {
			is.Equal(string(l.Value), string(payload))
			is.Equal(l.Header(header), value)
			is.True(l.TimerID == "" || l.TimerID == timer)
		}
		n, err := q.DeadLetters().Purge(ctx, db.Pool, dlq.Everything())
		is.NoErr(err)
		is.Equal(n, int64(4))
	})
}

// text says that s is a text of so many characters that PostgreSQL can hold.
func text(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return utf8.ValidString(s) && !strings.Contains(s, "\x00") && n >= least && n <= most
}

// What other writers left in the column headers is read as PostgreSQL reads it.
func FuzzHeadersOfOthers(f *testing.F) {
	for _, raw := range []string{
		`{"a": "1", "b": 2, "c": null, "d": [1, "x"], "e": {"f": true}}`, `{"a": 1, "a": "2"}`, `{"n": 1e5, "m": 1.50, "o": -0.0, "p": 12345678901234567890123}`,
		`[{"a": "b"}]`, `"text"`, `null`, `{}`, `{"": "\ud83d\ude00 \" \\ \/ \b \u00e9 \u2028"}`, `{"content-type": "application/json", "correlation_id": "ü"}`,
	} {
		f.Add(raw)
	}
	db := newDB(f)
	all := timers.In(queue.Outbox{})
	f.Fuzz(func(t *testing.T, raw string) {
		is := is.New(t)
		ctx := t.Context()
		tx, err := db.Pool.Begin(ctx)
		is.NoErr(err)
		defer func() { is.NoErr(tx.Rollback(ctx)) }()
		var names, values []string
		err = tx.QueryRow(ctx, `WITH given AS (INSERT INTO outbox (queue, payload, timer_id, headers) VALUES ('q', '', 't', $1::text::jsonb) RETURNING headers),
			letter AS (INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason) SELECT 1, 'q', '', headers, 1, now(), 'rejected' FROM given)
			SELECT COALESCE(array_agg(key), '{}'), COALESCE(array_agg(CASE jsonb_typeof(value) WHEN 'null' THEN '' WHEN 'string' THEN value #>> '{}' ELSE value::text END), '{}')
			FROM given, jsonb_each(CASE WHEN jsonb_typeof(headers) = 'object' THEN headers ELSE '{}' END)`, raw).Scan(&names, &values)
		if err != nil {
			return // no jsonb
		}
		want := map[string]string{}
		for i, name := range names {
			want[name] = values[i]
		}
		live, err := all.List(ctx, tx, timers.Filter{}, timers.Page{})
		is.NoErr(err)
		is.True(maps.Equal(live[0].Headers(), want))
		letters, err := dlq.In(queue.Outbox{}).List(ctx, tx, dlq.Filter{}, dlq.Page{})
		is.NoErr(err)
		is.True(maps.Equal(letters[0].Headers(), want))
		is.Equal(letters[0].ContentType(), want[queue.HeaderContentType])
	})
}
