package dlq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/queue"
)

func TestLetters_SelectWhatTheFilterSays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		db := newDB(t)
		ids := fill(t, db,
			put{queue: "orders", reason: queue.ReasonRejected, err: "no such order: 100% _sure_", age: 3 * time.Hour},
			put{queue: "orders", reason: queue.ReasonDecodeError, err: `cannot read \ this`, age: 2 * time.Hour},
			put{queue: "mails", reason: queue.ReasonRejected, age: time.Hour},
			put{queue: "mails", reason: "something else", err: "no such ORDER", age: time.Minute},
		)
		at := func(i int) time.Time {
			l, err := letters.Get(t.Context(), db, ids[i])
			if err != nil {
				t.Fatal(err)
			}
			return l.FailedAt
		}
		tests := []struct {
			name   string
			filter dlq.Filter
			want   []int // places in ids, newest first
		}{
			{"everything", dlq.Filter{}, []int{3, 2, 1, 0}},
			{"everything, said", dlq.Everything(), []int{3, 2, 1, 0}},
			{"a queue", dlq.Filter{Queue: "orders"}, []int{1, 0}},
			{"a queue that has none", dlq.Filter{Queue: "order"}, []int{}},
			{"a reason", dlq.Filter{Reason: queue.ReasonRejected}, []int{2, 0}},
			{"a queue and a reason", dlq.Filter{Queue: "mails", Reason: queue.ReasonRejected}, []int{2}},
			{"from a time on", dlq.Filter{FailedAfter: at(2)}, []int{3, 2}},
			{"before a time", dlq.Filter{FailedBefore: at(2)}, []int{1, 0}},
			{"between times", dlq.Filter{FailedAfter: at(1), FailedBefore: at(3)}, []int{2, 1}},
			{"between times that are the wrong way round", dlq.Filter{FailedAfter: at(3), FailedBefore: at(1)}, []int{}},
			{"an age", dlq.Filter{OlderThan: 90 * time.Minute}, []int{1, 0}},
			{"an age of centuries", dlq.Filter{OlderThan: 1<<63 - 1}, []int{}},
			{"a text", dlq.Filter{ErrorContains: "no such"}, []int{3, 0}},
			{"a text with its case", dlq.Filter{ErrorContains: "such order"}, []int{0}},
			{"a percent sign is no pattern", dlq.Filter{ErrorContains: "such % "}, []int{}},
			{"a percent sign", dlq.Filter{ErrorContains: "100% _"}, []int{0}},
			{"an underscore is no pattern", dlq.Filter{ErrorContains: "no_such"}, []int{}},
			{"a backslash", dlq.Filter{ErrorContains: `read \ th`}, []int{1}},
			{"a quote", dlq.Filter{ErrorContains: `'; DROP TABLE outbox_dlq; --`}, []int{}},
			{"ids", dlq.Filter{IDs: []int64{ids[0], ids[3], -1}}, []int{3, 0}},
			{"ids of a queue", dlq.Filter{IDs: []int64{ids[0], ids[3]}, Queue: "mails"}, []int{3}},
			{"a list of no ids", dlq.Filter{IDs: []int64{}}, []int{}},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				is := is.New(t)
				want := []int64{}
				for _, i := range tt.want {
					want = append(want, ids[i])
				}
				list, err := letters.List(t.Context(), db, tt.filter, dlq.Page{})
				is.NoErr(err)
				is.Equal(idsOf(list), want)
				counts, err := letters.Count(t.Context(), db, tt.filter)
				is.NoErr(err)
				total := 0
				for _, c := range counts {
					total += int(c.Letters)
				}
				is.Equal(total, len(want))
			})
		}
	})
}

func TestLetters_CountByQueueAndReason(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		counts, err := letters.Count(t.Context(), db, dlq.Filter{})
		is.NoErr(err)
		is.Equal(counts, []dlq.Count{})

		fill(t, db,
			put{queue: "orders", reason: queue.ReasonRejected, age: 2 * time.Hour},
			put{queue: "orders", reason: queue.ReasonDecodeError},
			put{queue: "orders", reason: queue.ReasonRejected, age: time.Hour},
			put{queue: "mails", reason: queue.ReasonRejected})
		counts, err = letters.Count(t.Context(), db, dlq.Filter{})
		is.NoErr(err)
		is.Equal(len(counts), 3)
		is.Equal(counts[2].Newest.Sub(counts[2].Oldest).Round(time.Minute), time.Hour)
		for i := range counts {
			counts[i].Oldest, counts[i].Newest = time.Time{}, time.Time{}
		}
		is.Equal(counts, []dlq.Count{
			{Queue: "mails", Reason: "rejected", Letters: 1},
			{Queue: "orders", Reason: "decode_error", Letters: 1},
			{Queue: "orders", Reason: "rejected", Letters: 2},
		})
	})
}

func TestLetters_ListInPages(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 23)
	fillMany(t, db.Pool, "mails", 11)
	// One statement buries many: they share a time. And others may write what we never would.
	_, err := db.Pool.Exec(t.Context(), `UPDATE outbox_dlq SET failed_at = (SELECT max(failed_at) FROM outbox_dlq) WHERE original_id BETWEEN 5 AND 15`)
	is.New(t).NoErr(err)
	_, err = db.Pool.Exec(t.Context(), `UPDATE outbox_dlq SET failed_at = CASE WHEN original_id > 20 THEN 'infinity' ELSE '-infinity' END::timestamptz
		WHERE original_id IN (1, 2, 21, 22)`)
	is.New(t).NoErr(err)
	for _, tt := range []struct {
		name, order string
		filter      dlq.Filter
		page        dlq.Page
	}{
		{"newest first", "failed_at DESC, id DESC", dlq.Filter{}, dlq.Page{Size: 4}},
		{"oldest first", "failed_at, id", dlq.Filter{}, dlq.Page{Size: 4, OldestFirst: true}},
		{"one by one", "failed_at DESC, id DESC", dlq.Filter{}, dlq.Page{Size: 1}},
		{"of a queue", "failed_at DESC, id DESC", dlq.Filter{Queue: "orders"}, dlq.Page{Size: 5}},
		{"of a queue, oldest first", "failed_at, id", dlq.Filter{Queue: "orders"}, dlq.Page{Size: 5, OldestFirst: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			want := get[[]int64](t, db.Pool, "SELECT array_agg(id ORDER BY "+tt.order+") FROM outbox_dlq WHERE $1 IN ('', queue)", tt.filter.Queue)
			var got []int64
			for {
				list, err := letters.List(t.Context(), db.Pool, tt.filter, tt.page)
				is.NoErr(err)
				got = append(got, idsOf(list)...)
				if len(list) < tt.page.Size {
					break
				}
				tt.page.After = list[len(list)-1].Cursor()
			}
			is.Equal(got, want)
		})
	}
}

func TestLetters_PagesDoNotShiftWhenLettersGo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		fillMany(t, db, "orders", 9)
		page := dlq.Page{Size: 3}
		first, err := letters.List(t.Context(), db, dlq.Filter{}, page)
		is.NoErr(err)
		is.Equal(idsOf(first), []int64{9, 8, 7})
		_, err = letters.Purge(t.Context(), db, dlq.Filter{IDs: idsOf(first)}) // the one that the cursor is of, too
		is.NoErr(err)
		fill(t, db, put{})
		page.After = first[2].Cursor()
		second, err := letters.List(t.Context(), db, dlq.Filter{}, page)
		is.NoErr(err)
		is.Equal(idsOf(second), []int64{6, 5, 4})
	})
}

func TestLetters_GetOne(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ids := fill(t, db.Pool, put{
		payload: "\x00\xff", timer: "order-1", reason: queue.ReasonRetryTerminal, err: "out of stock ☃", age: time.Hour,
		headers: `{"content-type": "application/json", "correlation_id": "c-1", "tries": 3, "nested": {"a": [1]}}`,
	})
	l, err := letters.Get(t.Context(), db.Pool, ids[0])
	is.NoErr(err)
	is.Equal(l.ID, ids[0])
	is.Equal(l.OriginalID, int64(1000))
	is.Equal(l.Queue, "orders")
	is.Equal(l.Payload, []byte("\x00\xff"))
	is.Equal(l.Deliveries, int64(3))
	is.Equal(l.Reason, queue.ReasonRetryTerminal)
	is.Equal(l.Error, "out of stock ☃")
	is.Equal(l.TimerID, "order-1")
	is.Equal(l.ContentType(), "application/json")
	is.Equal(l.CorrelationID(), "c-1")
	is.Equal(l.Headers(), map[string]string{"content-type": "application/json", "correlation_id": "c-1", "tries": "3", "nested": `{"a": [1]}`})
	is.Equal(l.FailedAt.Sub(l.CreatedAt), 23*time.Hour)
	is.Equal(l.FailedAt.Location(), time.UTC)

	_, err = letters.Get(t.Context(), db.Pool, 77)
	is.True(errors.Is(err, dlq.ErrNotFound))
	is.True(strings.Contains(err.Error(), "77"))
	_, err = dlq.Of(queue.New("mails")).Get(t.Context(), db.Pool, ids[0])
	is.True(errors.Is(err, dlq.ErrNotFound))
	_, err = dlq.Of(queue.New("orders")).Get(t.Context(), db.Pool, ids[0])
	is.NoErr(err)
}

func TestLetters_HeadersOfEveryKind(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, tt := range []struct {
		name    string
		headers any
		want    map[string]string
	}{
		{"none", nil, nil},
		{"JSON null", "null", map[string]string(nil)},
		{"an array", `["a"]`, nil},
		{"a number", "7", nil},
		{"empty", "{}", map[string]string{}},
		{"null for a value", `{"a": null}`, map[string]string{"a": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			ids := fill(t, db.Pool, put{headers: tt.headers})
			l, err := letters.Get(t.Context(), db.Pool, ids[0])
			is.NoErr(err)
			is.Equal(len(l.Headers()), len(tt.want))
			for name, value := range tt.want {
				is.Equal(l.Header(name), value)
			}
			is.Equal(l.ContentType(), "")
		})
	}
}

func TestLetters_WorkOnPoolConnectionAndTransaction(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := db.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	mode := func(m pgx.QueryExecMode, caches int) *pgxpool.Pool {
		return db.Connect(t, func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = m
			c.ConnConfig.StatementCacheCapacity, c.ConnConfig.DescriptionCacheCapacity = caches, caches
		})
	}
	for _, tt := range []struct {
		name string
		db   interface {
			dlq.DB
			Begin(ctx context.Context) (pgx.Tx, error)
		}
	}{
		{"pool", db.Pool},
		{"connection", conn},
		{"transaction", tx},
		{"describing", mode(pgx.QueryExecModeCacheDescribe, 10)},
		{"without caches", mode(pgx.QueryExecModeExec, 0)},
		{"simple protocol", mode(pgx.QueryExecModeSimpleProtocol, 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			p := put{queue: tt.name, payload: "\x00\xff'", headers: `{"a": "ü"}`, err: "oh", age: time.Hour}
			ids := fill(t, db.Pool, p, p, p, p, p)
			filter := dlq.Filter{
				Queue: tt.name, Reason: queue.ReasonRejected, ErrorContains: "o", IDs: ids, OlderThan: time.Minute,
				FailedAfter: time.Now().Add(-2 * time.Hour), FailedBefore: time.Now(),
			}
			counts, err := letters.Count(t.Context(), tt.db, filter)
			is.NoErr(err)
			is.Equal(counts[0].Letters, int64(5))
			l, err := letters.Get(t.Context(), tt.db, ids[0])
			is.NoErr(err)
			is.Equal(string(l.Payload), p.payload)
			is.Equal(l.Header("a"), "ü")
			done, err := letters.Replay(t.Context(), queue.Autocommit(tt.db), ids[:1], dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
				return dlq.Fixed{Payload: l.Payload, ContentType: "x"}, nil
			}))
			is.NoErr(err)
			is.Equal(done.Moved, int64(1))
			done, err = letters.ReplayAll(t.Context(), tt.db, filter, dlq.Limit(2))
			is.NoErr(err)
			is.Equal(done.Moved, int64(2))
			list, err := letters.List(t.Context(), tt.db, filter, dlq.Page{Size: 1})
			is.NoErr(err)
			list, err = letters.List(t.Context(), tt.db, dlq.Filter{Queue: tt.name}, dlq.Page{After: list[0].Cursor()})
			is.NoErr(err)
			is.Equal(idsOf(list), ids[3:4])
			n, err := letters.Purge(t.Context(), tt.db, filter)
			is.NoErr(err)
			is.Equal(n, int64(2))
		})
	}
	is := is.New(t)
	is.NoErr(tx.Rollback(t.Context()))
	is.Equal(get[int](t, db.Pool, "SELECT count(*) FROM outbox_dlq WHERE queue = 'transaction'"), 5) // as if nothing had been
	is.Equal(messageCount(t, db.Pool), 5*3)
}

func TestLetters_RefuseBadInput(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	const secret = "the payload"
	fill(t, db.Pool, put{payload: secret})
	list := func(f dlq.Filter, p dlq.Page) func(dlq.Letters, dlq.DB) error {
		return func(l dlq.Letters, db dlq.DB) error { _, err := l.List(t.Context(), db, f, p); return err }
	}
	count := func(l dlq.Letters, db dlq.DB) error { _, err := l.Count(t.Context(), db, dlq.Filter{}); return err }
	all := func(opts ...dlq.ReplayAllOption) func(dlq.Letters, dlq.DB) error {
		return func(l dlq.Letters, db dlq.DB) error {
			_, err := l.ReplayAll(t.Context(), db, dlq.Filter{}, opts...)
			return err
		}
	}
	replay := func(tx queue.Tx, ids []int64, opts ...dlq.ReplayOption) func(dlq.Letters, dlq.DB) error {
		return func(l dlq.Letters, _ dlq.DB) error { _, err := l.Replay(t.Context(), tx, ids, opts...); return err }
	}
	purge := func(f dlq.Filter, opts ...dlq.PurgeOption) func(dlq.Letters, dlq.DB) error {
		return func(l dlq.Letters, db dlq.DB) error { _, err := l.Purge(t.Context(), db, f, opts...); return err }
	}
	auto := queue.Autocommit(db.Pool)
	tests := []struct {
		name    string
		letters dlq.Letters
		db      dlq.DB
		do      func(dlq.Letters, dlq.DB) error
		want    error // found by errors.Is; nil: any error
		says    string
	}{
		{"zero letters", dlq.Letters{}, db.Pool, count, queue.ErrNotMade, "no outbox"},
		{"zero letters, replay", dlq.Letters{}, nil, replay(auto, []int64{1}), queue.ErrNotMade, ""},
		{"long table name", dlq.In(queue.Outbox{Table: strings.Repeat("t", 60)}), db.Pool, count, nil, "_pending_idx"},
		{"bad queue name", dlq.Of(queue.New("")), db.Pool, count, queue.ErrInvalidName, "empty"},
		{"bad queue name, purge", dlq.Of(queue.New("")), db.Pool, purge(dlq.Everything()), queue.ErrInvalidName, ""},
		{"missing table", dlq.In(queue.Outbox{Table: "missing"}), db.Pool, count, queue.ErrNoTable, "Outbox.Create"},
		{"missing table, list", dlq.In(queue.Outbox{Table: "missing"}), db.Pool, list(dlq.Filter{}, dlq.Page{}), queue.ErrNoTable, "missing_dlq"},
		{"missing dead-letter table", dlq.In(queue.Outbox{DeadLetters: "missing"}), db.Pool, all(), queue.ErrNoTable, `"missing"`},
		{"missing schema", dlq.In(queue.Outbox{Schema: "missing"}), nil, replay(auto, []int64{1}), queue.ErrNoTable, "search_path"},
		{"nil database", letters, nil, count, queue.ErrNoTransaction, ""},
		{"nil pool", letters, (*pgxpool.Pool)(nil), count, queue.ErrNoTransaction, ""},
		{"nil connection", letters, (*pgx.Conn)(nil), all(), queue.ErrNoTransaction, ""},
		{"nil transaction", letters, nil, replay(nil, []int64{1}), queue.ErrNoTransaction, ""},
		{"nil *sql.Tx", letters, nil, replay(queue.SQL(nil), []int64{1}), queue.ErrNoTransaction, ""},
		{"NUL in a filter", letters, db.Pool, list(dlq.Filter{ErrorContains: "a\x00"}, dlq.Page{}), dlq.ErrInvalid, "error text"},
		{"a filter that is not UTF-8", letters, db.Pool, list(dlq.Filter{Queue: "\xff"}, dlq.Page{}), dlq.ErrInvalid, "queue"},
		{"negative age", letters, db.Pool, purge(dlq.Filter{OlderThan: -1}), dlq.ErrInvalid, "-1ns"},
		{"a time beyond years", letters, db.Pool, list(dlq.Filter{FailedAfter: time.Unix(1<<62, 0)}, dlq.Page{}), dlq.ErrInvalid, "year"},
		{"a time in the year 10000", letters, db.Pool, purge(dlq.Filter{FailedBefore: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}), dlq.ErrInvalid, "10000"},
		{"filter of another queue", dlq.Of(queue.New("orders")), db.Pool, list(dlq.Filter{Queue: "mails"}, dlq.Page{}), dlq.ErrInvalid, `"mails"`},
		{"negative page", letters, db.Pool, list(dlq.Filter{}, dlq.Page{Size: -1}), dlq.ErrInvalid, "-1"},
		{"huge page", letters, db.Pool, list(dlq.Filter{}, dlq.Page{Size: 1001}), dlq.ErrInvalid, "1001"},
		{"no cursor", letters, db.Pool, list(dlq.Filter{}, dlq.Page{After: "page 2"}), dlq.ErrInvalid, `"page 2"`},
		{"a cursor and more", letters, db.Pool, list(dlq.Filter{}, dlq.Page{After: "1.2 or so"}), dlq.ErrInvalid, "cursor"},
		{"a cursor before PostgreSQL's time", letters, db.Pool, list(dlq.Filter{}, dlq.Page{After: "-210866803200000001.1"}), dlq.ErrInvalid, "cursor"},
		{"limit of nothing", letters, db.Pool, all(dlq.Limit(0)), dlq.ErrInvalid, "limit"},
		{"batch of nothing", letters, db.Pool, all(dlq.Batch(0)), dlq.ErrInvalid, "batch"},
		{"huge batch", letters, db.Pool, purge(dlq.Everything(), dlq.Batch(10_001)), dlq.ErrInvalid, "batch"},
		{"rate of nothing", letters, db.Pool, all(dlq.Rate(0)), dlq.ErrInvalid, "rate"},
		{"nil fix", letters, db.Pool, all(dlq.Fix(nil)), dlq.ErrInvalid, "fix"},
		{"to a queue without a name", letters, nil, replay(auto, []int64{1}, dlq.To("")), queue.ErrInvalidName, ""},
		{"too many ids", letters, nil, replay(auto, manyIDs(10_001)), dlq.ErrInvalid, "ReplayAll"},
		{"all problems at once", letters, db.Pool, all(dlq.Limit(-1), dlq.Rate(-1), dlq.To("\x00")), dlq.ErrInvalid, "NUL"},
		{"purge without a filter", letters, db.Pool, purge(dlq.Filter{}), dlq.ErrEmptyFilter, ""},
		{"purge without a filter, of a queue", dlq.Of(queue.New("orders")), db.Pool, purge(dlq.Filter{}), dlq.ErrEmptyFilter, `"orders"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			err := tt.do(tt.letters, tt.db)
			is.True(err != nil)
			is.True(tt.want == nil || errors.Is(err, tt.want)) // the sentinel
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q does not say %q", err, tt.says)
			}
			is.True(!strings.Contains(err.Error(), secret))
		})
	}
	is := is.New(t)
	is.Equal(letterCount(t, db.Pool), 1) // nothing was done
	is.Equal(messageCount(t, db.Pool), 0)
}

func manyIDs(n int) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	return ids
}
