package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
)

// peekAll goes through all pages of a size, and returns the payloads.
func peekAll(t *testing.T, db queue.Reader, q queue.Queue, state queue.MessageState, size int) (all []string) {
	t.Helper()
	is := is.New(t)
	page := queue.Page{Size: size}
	for range 1000 {
		list, next, err := q.Peek(t.Context(), db, state, page)
		is.NoErr(err)
		is.True(size == 0 || len(list) <= size)
		for _, m := range list {
			all = append(all, string(m.Payload))
		}
		if next == "" {
			return all
		}
		page.After = next
	}
	t.Fatal("the pages do not end")
	return nil
}

func TestPeek_ShowsEveryState(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	everyState(t, db)
	tests := []struct {
		queue string
		state queue.MessageState
		want  []string
	}{
		{"work", queue.StateWaiting, []string{"fail", "later 1", "later 2"}},
		{"work", queue.StateDue, nil},
		{"work", queue.StateScheduled, []string{"later 1", "later 2"}},
		{"work", queue.StateRetrying, []string{"fail"}},
		{"work", queue.StateLeased, []string{"hold 1", "hold 2"}},
		{"idle", queue.StateWaiting, []string{"due 3", "due 1", "due 2"}},
		{"idle", queue.StateDue, []string{"due 3", "due 1", "due 2"}},
		{"idle", queue.StateScheduled, nil},
		{"idle", queue.StateRetrying, nil},
		{"idle", queue.StateLeased, nil},
		{"nobody", queue.StateWaiting, nil},
	}
	for name, reader := range readers(t, db) {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			for _, tt := range tests {
				for size := range 4 { // the order does not depend on pages
					got := peekAll(t, reader, queue.New(tt.queue), tt.state, size)
					if tt.state == queue.StateLeased {
						slices.Sort(got) // two may have been claimed apart
					}
					is.Equal(got, tt.want)
				}
			}
		})
	}
}

func TestPeek_TellsAll(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	everyState(t, db)
	ctx := t.Context()
	work, idle := queue.New("work"), queue.New("idle")
	one := func(q queue.Queue, state queue.MessageState) queue.Peeked {
		t.Helper()
		list, _, err := q.Peek(ctx, db.Pool, state, queue.Page{Size: 1})
		is.NoErr(err)
		is.Equal(len(list), 1)
		same, ok, err := q.PeekID(ctx, db.Pool, list[0].ID)
		is.NoErr(err)
		is.True(ok)
		is.Equal(same, list[0])
		is.True(list[0].ID > 0)
		is.Equal(list[0].Queue, q.Name())
		return list[0]
	}
	failed := one(work, queue.StateRetrying)
	is.Equal(failed.State, queue.StateRetrying)
	is.Equal(failed.State.String(), "retrying")
	is.Equal(failed.Attempts, int64(1))
	is.Equal(failed.Deliveries, int64(1))
	is.True(failed.LeasedAt.IsZero())
	is.True(!failed.FirstAttemptAt.IsZero() && failed.FirstAttemptAt.Equal(failed.LastAttemptAt))
	is.True((failed.DueAt.Sub(failed.LastAttemptAt) - 30*time.Minute).Abs() < time.Second)

	held := one(work, queue.StateLeased)
	is.Equal(held.State, queue.StateLeased)
	is.Equal(held.Attempts, int64(0))
	is.Equal(held.Deliveries, int64(1))
	is.True(!held.LeasedAt.IsZero() && !held.LeasedAt.Before(held.CreatedAt))

	later := one(work, queue.StateScheduled)
	is.Equal(later.State, queue.StateScheduled)
	is.Equal(later.DueAt.Sub(later.CreatedAt), time.Hour)
	is.True(later.FirstAttemptAt.IsZero())

	var due queue.Peeked
	list, _, err := idle.Peek(ctx, db.Pool, queue.StateDue, queue.Page{})
	is.NoErr(err)
	due = list[1]
	is.Equal(due.State, queue.StateDue)
	is.Equal(string(due.Payload), "due 1")
	is.Equal(due.Headers, map[string]string{"tenant": "x", "correlation_id": "c-1", "content-type": "text/plain"})
	is.Equal(due.ContentType(), "text/plain")
	is.Equal(due.CorrelationID(), "c-1")
	is.Equal(due.TimerID, "")

	_, ok, err := idle.PeekID(ctx, db.Pool, held.ID) // of another queue
	is.NoErr(err)
	is.True(!ok)
	_, ok, err = idle.PeekID(ctx, db.Pool, 1<<40)
	is.NoErr(err)
	is.True(!ok)
}

// What is looked at is neither locked nor changed, and what is locked is seen.
func TestPeek_TakesNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	fillStates(t, db, "q", 3)
	const state = `SELECT string_agg(o::text, E'\n' ORDER BY id) || string_agg(xmin::text, ',' ORDER BY id) FROM outbox AS o`
	var before, after string
	is.NoErr(db.Pool.QueryRow(t.Context(), state).Scan(&before))
	other, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { is.NoErr(other.Rollback(t.Context())) }()
	_, err = other.Exec(t.Context(), "SELECT FROM outbox FOR UPDATE")
	is.NoErr(err)

	// In a transaction that may not write.
	tx, err := db.Pool.BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
	is.NoErr(err)
	is.Equal(len(peekAll(t, tx, queue.New("q"), queue.StateWaiting, 2)), 9)
	is.Equal(len(peekAll(t, tx, queue.New("q"), queue.StateLeased, 2)), 3)
	var locks int
	is.NoErr(tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode NOT IN ('AccessShareLock', 'ExclusiveLock')`).Scan(&locks))
	is.Equal(locks, 0) // an ExclusiveLock is on its own transaction
	is.NoErr(tx.Commit(t.Context()))
	is.NoErr(db.Pool.QueryRow(t.Context(), state).Scan(&after))
	is.Equal(after, before)
}

// rowsOfTies writes rows whose times come many times over, infinities among them,
// in an order of ids that is not that of the times, and returns the payloads in the
// order that pages should have.
func rowsOfTies(t *testing.T, db queue.Reader, column string) []string {
	t.Helper()
	lease := "NULL, NULL"
	if column == "acquired_at" {
		lease = "at, gen_random_uuid()"
	}
	var payloads string
	err := db.QueryRow(t.Context(), `
		WITH new AS (
		  INSERT INTO outbox (queue, payload, next_attempt_at, acquired_at, acquired_token)
		  SELECT 'q', convert_to(n::text, 'UTF8'), at, `+lease+`
		  FROM (SELECT n, CASE n % 7 WHEN 0 THEN '-infinity' WHEN 6 THEN 'infinity'
		                  ELSE now() + make_interval(hours => n % 7 - 3) END::timestamptz AS at
		        FROM generate_series(1, 100) AS n) AS v
		  RETURNING id, payload, next_attempt_at)
		SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY next_attempt_at, id) FROM new`).Scan(&payloads)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(payloads)
}

func TestPeek_PagesOverTiesAndInfinities(t *testing.T) {
	t.Parallel()
	for column, state := range map[string]queue.MessageState{"next_attempt_at": queue.StateWaiting, "acquired_at": queue.StateLeased} {
		t.Run(column, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newOutbox(t)
			want := rowsOfTies(t, db.Pool, column)
			is.Equal(len(want), 100)
			for _, size := range []int{1, 2, 3, 7, 14, 50, 99, 100, 101} {
				is.Equal(peekAll(t, db.Pool, queue.New("q"), state, size), want)
			}
			list, _, err := queue.New("q").Peek(t.Context(), db.Pool, state, queue.Page{Size: 1})
			is.NoErr(err)
			is.True(list[0].DueAt.IsZero()) // -infinity
		})
	}
}

// A tie that is larger than what a page reads off the index is read by id, from
// where it was first met, and then what is below that: each message once.
func TestPeek_PagesOverALargeTie(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	run(t, db.Pool, `INSERT INTO outbox (id, queue, payload, next_attempt_at, attempts_count)
		SELECT (n + 15000) % 30021 + 1, CASE n % 3 WHEN 0 THEN 'other' ELSE 'q' END, convert_to(n::text, 'UTF8'),
		       CASE WHEN n <= 20 THEN now() - interval '1 hour' WHEN n > 30000 THEN now() + interval '1 hour' ELSE now() + interval '1 minute' END, n % 5
		FROM generate_series(1, 30020) AS n`)
	tests := []struct {
		state queue.MessageState
		size  int
		want  func(n int) bool
	}{
		{queue.StateWaiting, 1000, func(int) bool { return true }},
		{queue.StateWaiting, 333, func(int) bool { return true }},
		{queue.StateRetrying, 1000, func(n int) bool { return n > 20 && n%5 > 0 }},
		{queue.StateScheduled, 1000, func(n int) bool { return n > 20 && n%5 == 0 }},
		{queue.StateDue, 3, func(n int) bool { return n <= 20 }},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.state, " ", tt.size), func(t *testing.T) {
			is := is.New(t)
			seen := map[string]int{}
			got := peekAll(t, db.Pool, queue.New("q"), tt.state, tt.size)
			for _, payload := range got {
				seen[payload]++
			}
			want := 0
			for n := 1; n <= 30020; n++ {
				if n%3 == 0 || !tt.want(n) {
					continue
				}
				want++
				if seen[fmt.Sprint(n)] != 1 {
					t.Fatalf("message %d was seen %d times", n, seen[fmt.Sprint(n)])
				}
			}
			is.Equal(len(got), want)
		})
	}
	is := is.New(t)
	list, _, err := queue.New("q").Peek(t.Context(), db.Pool, queue.StateScheduled, queue.Page{})
	is.NoErr(err)
	is.True(len(list) > 0) // a tie is no reason for an empty first page
}

// A page ends where its payloads get large, and loses none.
func TestPeek_PagesEndBeforeTheyGetLarge(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload)
		SELECT 'q', decode(repeat('00', mb * 1048576), 'hex') FROM unnest(ARRAY[6, 6, 6, 20, 1, 1]) AS mb`)
	var pages [][]int
	page := queue.Page{}
	for {
		list, next, err := queue.New("q").Peek(t.Context(), db.Pool, queue.StateWaiting, page)
		is.NoErr(err)
		var sizes []int
		for _, m := range list {
			sizes = append(sizes, len(m.Payload)>>20)
		}
		pages = append(pages, sizes)
		if next == "" {
			break
		}
		page.After = next
	}
	is.Equal(pages, [][]int{{6, 6}, {6}, {20}, {1, 1}})
}

// A row that moves, comes or goes pushes no other off the page.
func TestPeek_PagesByPosition(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload) SELECT 'q', convert_to(n::text, 'UTF8') FROM generate_series(1, 6) AS n`)
	list, next, err := queue.New("q").Peek(t.Context(), db.Pool, queue.StateWaiting, queue.Page{Size: 3})
	is.NoErr(err)
	is.Equal(len(list), 3)
	run(t, db.Pool, `DELETE FROM outbox WHERE payload IN ('1', '3')`)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, next_attempt_at) VALUES ('q', 'early', now() - interval '1 hour')`)
	list, next, err = queue.New("q").Peek(t.Context(), db.Pool, queue.StateWaiting, queue.Page{Size: 3, After: next})
	is.NoErr(err)
	is.Equal(next, "")
	is.Equal([]string{string(list[0].Payload), string(list[1].Payload), string(list[2].Payload)}, []string{"4", "5", "6"})
}
