package timers_test

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// stock is a table with timers of several queues in every state, and with plain
// messages. The due time of "a-3" is three hours from now, and so on.
func stock(t *testing.T, s substrate, tx pgx.Tx) {
	t.Helper()
	if m, ok := s.(inMemory); ok {
		stockMemory(m)
		return
	}
	exec(t, tx, `INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at, attempts_count, acquired_at, acquired_token)
		SELECT queue, convert_to(COALESCE(timer, 'plain'), 'UTF8'), headers, timer, now() + make_interval(hours => due),
		       attempts, CASE WHEN leased THEN now() END, CASE WHEN leased THEN gen_random_uuid() END
		FROM (VALUES ('reminders', 'a-1', 1, 0, false, '{"content-type": "text/plain", "correlation_id": "c-1", "n": 7}'::jsonb),
		             ('reminders', 'b-2', 2, 3, false, NULL),
		             ('reminders', 'a-3', 3, 0, false, '"odd"'),
		             ('reminders', 'a-running', -1, 1, true, NULL),
		             ('reminders', 'b-due', -2, 0, false, NULL),
		             ('reminders', NULL, 1, 0, false, NULL),
		             ('empty', NULL, 1, 0, false, NULL),
		             ('other', 'a-1', 2, 0, false, NULL),
		             ('third', 'z%_', 0, 0, false, NULL)) AS v(queue, timer, due, attempts, leased, headers)`)
}

// stockMemory is the same in memory.
func stockMemory(m inMemory) {
	for _, r := range []struct {
		queue, timer string
		due          int
		attempts     int64
		leased       bool
		headers      string
	}{
		{"reminders", "a-1", 1, 0, false, `{"content-type": "text/plain", "correlation_id": "c-1", "n": 7}`},
		{"reminders", "b-2", 2, 3, false, ""},
		{"reminders", "a-3", 3, 0, false, `"odd"`},
		{"reminders", "a-running", -1, 1, true, ""},
		{"reminders", "b-due", -2, 0, false, ""},
		{"reminders", "", 1, 0, false, ""},
		{"empty", "", 1, 0, false, ""},
		{"other", "a-1", 2, 0, false, ""},
		{"third", "z%_", 0, 0, false, ""},
	} {
		c := store.Claimed{
			Queue: r.queue, TimerID: r.timer, Payload: []byte(cmp.Or(r.timer, "plain")), Attempts: r.attempts,
			CreatedAt: m.Now(), DueAt: m.Now().Add(time.Duration(r.due) * time.Hour),
		}
		if r.headers != "" {
			c.Headers = []byte(r.headers)
		}
		if r.leased {
			c.Token, c.ClaimedAt = uuid.New(), m.Now()
		}
		m.outbox().Insert(c)
	}
}

func TestList_Filters(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s substrate) {
		all, ours := timers.In(queue.Outbox{}), timers.Of(reminders)
		tx := open(t, s)
		stock(t, s, tx)
		now, err := access.Now(t.Context(), tx)
		is.New(t).NoErr(err)
		in := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
		tests := []struct {
			name   string
			timers timers.Timers
			filter timers.Filter
			want   string
			counts timers.Counts
		}{
			{"all of a queue", ours, timers.Filter{}, "[b-due a-1 b-2 a-3]", timers.Counts{Waiting: 4, Due: 1, Retrying: 1}},
			{"running ones too", ours, timers.Filter{Running: true}, "[b-due a-running a-1 b-2 a-3]", timers.Counts{Waiting: 4, Due: 1, Retrying: 1, Running: 1}},
			{"all", all, timers.Filter{}, "[b-due z%_ a-1 b-2 a-1 a-3]", timers.Counts{Waiting: 6, Due: 2, Retrying: 1}},
			{"all of a queue of all", all, timers.Filter{Queue: "other"}, "[a-1]", timers.Counts{Waiting: 1}},
			{"prefix", ours, timers.Filter{Prefix: "a-"}, "[a-1 a-3]", timers.Counts{Waiting: 2}},
			{"prefix is no pattern", all, timers.Filter{Prefix: "z%"}, "[z%_]", timers.Counts{Waiting: 1, Due: 1}},
			{"prefix is no pattern either", all, timers.Filter{Prefix: "%"}, "[]", timers.Counts{}},
			{"from", ours, timers.Filter{DueFrom: in(2)}, "[b-2 a-3]", timers.Counts{Waiting: 2, Retrying: 1}},
			{"before", ours, timers.Filter{DueBefore: in(2)}, "[b-due a-1]", timers.Counts{Waiting: 2, Due: 1}},
			{"between", ours, timers.Filter{DueFrom: in(1), DueBefore: in(3), Prefix: "b"}, "[b-2]", timers.Counts{Waiting: 1, Retrying: 1}},
			{"nothing", ours, timers.Filter{DueFrom: in(4)}, "[]", timers.Counts{}},
			{"unknown queue", all, timers.Filter{Queue: "unknown"}, "[]", timers.Counts{}},
			{"plain messages are none", all, timers.Filter{Queue: "empty"}, "[]", timers.Counts{}},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				is := is.New(t)
				for size := range 6 { // the order does not depend on pages
					ids := []string{}
					for page := (timers.Page{Size: size}); ; {
						list, err := tt.timers.List(t.Context(), tx, tt.filter, page)
						is.NoErr(err)
						for _, l := range list {
							ids = append(ids, l.TimerID)
							is.Equal(string(l.Payload), l.TimerID)
						}
						if size == 0 || len(list) < size {
							break
						}
						page.After = list[size-1].Cursor()
					}
					is.Equal(fmt.Sprint(ids), tt.want)
				}
				n, err := tt.timers.Count(t.Context(), tx, tt.filter)
				is.NoErr(err)
				is.Equal(n, tt.counts)
			})
		}
	})
}

func TestGet_TellsAll(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ours := timers.Of(reminders)
	tx := begin(t, db.Pool)
	stock(t, onPostgres{db.Pool, bound(t)}, tx)
	exec(t, tx, `UPDATE outbox SET deliveries_count = 5, first_attempt_at = now() - interval '2 hours',
		last_attempt_at = now() - interval '1 hour' WHERE timer_id = 'a-running'`)
	var now time.Time
	is.NoErr(tx.QueryRow(t.Context(), "SELECT now()").Scan(&now))

	live, ok, err := ours.Get(t.Context(), tx, "a-running")
	is.NoErr(err)
	is.True(ok)
	is.True(live.ID > 0)
	is.Equal(live.Queue, "reminders")
	is.Equal(live.TimerID, "a-running")
	is.Equal(string(live.Payload), "a-running")
	is.True(live.Leased)
	is.Equal(live.Attempts, int64(1))
	is.Equal(live.Deliveries, int64(5))
	for _, at := range []struct {
		got  time.Time
		want time.Duration
	}{{live.DueAt, -time.Hour}, {live.ClaimedAt, 0}, {live.CreatedAt, 0}, {live.FirstAttemptAt, -2 * time.Hour}, {live.LastAttemptAt, -time.Hour}} {
		is.True(at.got.Equal(now.Add(at.want)))
	}
	is.Equal(live.Headers(), nil)

	live, _, err = ours.Get(t.Context(), tx, "a-1")
	is.NoErr(err)
	is.Equal(live.Headers(), map[string]string{"content-type": "text/plain", "correlation_id": "c-1", "n": "7"})
	is.Equal(live.ContentType(), "text/plain")
	is.Equal(live.CorrelationID(), "c-1")
	is.True(live.ClaimedAt.IsZero() && live.FirstAttemptAt.IsZero())
	live, _, err = ours.Get(t.Context(), tx, "a-3")
	is.NoErr(err)
	is.Equal(live.Header("content-type"), "")

	live, ok, err = ours.Get(t.Context(), tx, "absent")
	is.NoErr(err)
	is.True(!ok)
	is.Equal(live.Cursor(), "")
}

func TestNextDue_IsTheFirstThatWaits(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s substrate) {
		is := is.New(t)
		tx := open(t, s)
		now, err := access.Now(t.Context(), tx)
		is.NoErr(err)
		_, ok, err := timers.In(queue.Outbox{}).NextDue(t.Context(), tx)
		is.NoErr(err)
		is.True(!ok)
		stock(t, s, tx)
		for _, tt := range []struct {
			timers timers.Timers
			want   time.Duration
		}{{timers.Of(reminders), -2 * time.Hour}, {timers.Of(queue.New("other")), 2 * time.Hour}, {timers.In(queue.Outbox{}), -2 * time.Hour}} {
			at, ok, err := tt.timers.NextDue(t.Context(), tx)
			is.NoErr(err)
			is.True(ok)
			is.True(at.Equal(now.Add(tt.want)))
		}
		_, ok, err = timers.Of(queue.New("empty")).NextDue(t.Context(), tx)
		is.NoErr(err)
		is.True(!ok) // a plain message is no timer
	})
}

func TestCancelAll_LeavesWhatRunsAndPlainMessages(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s substrate) {
		is := is.New(t)
		commit := open(t, s)
		stock(t, s, commit)
		is.NoErr(commit.Commit(t.Context()))
		_, err := timers.Of(reminders).Cancel(t.Context(), open(t, s), "b-2") // which locks it
		is.NoErr(err)
		tx := open(t, s)
		n, err := timers.Of(reminders).CancelPrefix(t.Context(), tx, "a-")
		is.NoErr(err)
		is.Equal(n, timers.CancelCount{Cancelled: 2, Running: 1})
		n, err = timers.Of(reminders).CancelPrefix(t.Context(), tx, "%")
		is.NoErr(err)
		is.Equal(n, timers.CancelCount{})
		n, err = timers.Of(reminders).CancelAll(t.Context(), tx)
		is.NoErr(err)
		is.Equal(n, timers.CancelCount{Cancelled: 1, Running: 2})
		is.NoErr(tx.Commit(t.Context()))
		left := map[string]int{}
		for _, r := range s.rows(t) {
			left[r.payload]++
		}
		is.Equal(left, map[string]int{"plain": 2, "a-running": 1, "b-2": 1, "a-1": 1, "z%_": 1})
	})
}
