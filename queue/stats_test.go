package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// line is what a queue holds, without ages.
func line(q queue.QueueStats) string {
	return fmt.Sprintf("%s: due %v, leased %v (expired %v), scheduled %v, retrying %v, dead %v",
		q.Queue, q.Due, q.Leased, q.Expired, q.Scheduled, q.Retrying, q.Dead)
}

func lines(s queue.Stats) (out []string) {
	for _, q := range s.Queues {
		out = append(out, line(q))
	}
	return out
}

func TestStats_CountsEveryState(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	everyState(t, db)
	for name, reader := range readers(t, db) {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s, err := queue.Outbox{}.Stats(t.Context(), reader, queue.StatsOptions{})
			is.NoErr(err)
			is.Equal(lines(s), []string{
				"idle: due 3, leased 0 (expired 0), scheduled 0, retrying 0, dead 0",
				"work: due 0, leased 2 (expired 0), scheduled 2, retrying 1, dead 1",
			})
			is.NoErr(s.DeadErr)
			is.True(!s.MoreQueues)
			is.Equal(s.Cap, int64(10_000))
			is.True(time.Since(s.At).Abs() < time.Minute)
			is.Equal(s.Queues[1].Depth(), queue.Count{N: 5})
			idle, work := s.Queues[0], s.Queues[1]
			is.True(idle.OldestDue >= time.Minute && idle.OldestDue < 2*time.Minute)
			is.Equal(work.OldestDue, time.Duration(0))
			is.True(work.OldestLease > 0 && work.OldestLease < time.Minute)
			is.Equal(idle.OldestLease, time.Duration(0))
		})
	}
}

func TestStats_SeesWhatItsTransactionHasDone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { is.NoErr(tx.Rollback(t.Context())) }()
	_, err = orders.Publish(t.Context(), tx, []byte("x"))
	is.NoErr(err)
	s, err := queue.Outbox{}.Stats(t.Context(), tx, queue.StatsOptions{})
	is.NoErr(err)
	is.Equal(lines(s), []string{"orders: due 1, leased 0 (expired 0), scheduled 0, retrying 0, dead 0"})
	s, err = queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{})
	is.NoErr(err)
	is.Equal(len(s.Queues), 0)
}

// fillStates writes n messages of each state to a queue.
func fillStates(t *testing.T, db *pgtest.DB, name string, n int) {
	t.Helper()
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, next_attempt_at, attempts_count, acquired_at, acquired_token)
		SELECT $1, '', now() + make_interval(mins => due), attempts,
		       CASE WHEN leased THEN now() - interval '1 hour' END, CASE WHEN leased THEN gen_random_uuid() END
		FROM (VALUES (-1, 0, false), (5, 1, false), (60, 0, false), (0, 0, true)) AS v(due, attempts, leased), generate_series(1, $2)`, name, n)
	run(t, db.Pool, `INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason)
		SELECT n, $1, '', 1, now(), 'rejected' FROM generate_series(1, $2::int) AS n`, name, n)
}

func TestStats_SaysWhereACountStopped(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	fillStates(t, db, "q", 10)
	for limit, want := range map[int64]string{
		0:  "q: due 10, leased 10 (expired 10), scheduled 10, retrying 10, dead 10",
		20: "q: due 10, leased 10 (expired 10), scheduled 10, retrying 10, dead 10",
		// Retries are due sooner, so it is they that are met first.
		19: "q: due 10, leased 10 (expired 10), scheduled 10+, retrying 10+, dead 10",
		10: "q: due 10, leased 10 (expired 10), scheduled 1+, retrying 10+, dead 10",
		9:  "q: due 9+, leased 9+ (expired 9+), scheduled 0+, retrying 9+, dead 9+",
		1:  "q: due 1+, leased 1+ (expired 1+), scheduled 0+, retrying 1+, dead 1+",
	} {
		is := is.New(t)
		s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{Cap: limit})
		is.NoErr(err)
		is.Equal(lines(s), []string{want})
	}
}

func TestStats_QueuesAreFoundOrNamed(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	hostile := `";DROP TABLE outbox;--'\ {} $1 "é` + strings.Repeat("x", 200)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload) SELECT 'due ' || n % 3, '' FROM generate_series(1, 30) AS n`)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, acquired_at, acquired_token) VALUES ('leased alone', '', now(), gen_random_uuid())`)
	run(t, db.Pool, `INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failure_reason)
		VALUES (1, 'dead alone', '', 1, now(), 'rejected'), (1, $1, '', 1, now(), 'rejected')`, hostile)
	all := []string{hostile, "dead alone", "due 0", "due 1", "due 2", "leased alone"}
	tests := []struct {
		name string
		opts queue.StatsOptions
		want []string
		more bool
	}{
		{"all", queue.StatsOptions{}, all, false},
		{"just as many as there are", queue.StatsOptions{MaxQueues: 6}, all, false},
		{"fewer", queue.StatsOptions{MaxQueues: 4}, all[:4], true},
		{"one", queue.StatsOptions{MaxQueues: 1}, all[:1], true},
		{"named, as they were named", queue.StatsOptions{Queues: []string{"leased alone", "nobody", hostile, "due 1"}},
			[]string{"leased alone", "nobody", hostile, "due 1"}, true},
		{"none", queue.StatsOptions{Queues: []string{}}, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, tt.opts)
			is.NoErr(err)
			var names []string
			for _, q := range s.Queues {
				names = append(names, q.Queue)
				switch {
				case q.Queue == "nobody":
					is.Equal(q, queue.QueueStats{Queue: "nobody"})
				case q.Queue == hostile || q.Queue == "dead alone":
					is.Equal(q, queue.QueueStats{Queue: q.Queue, Dead: queue.Count{N: 1}})
				case strings.HasPrefix(q.Queue, "due"):
					is.Equal(q.Due, queue.Count{N: 10})
				}
			}
			is.Equal(names, tt.want)
			is.Equal(s.MoreQueues, tt.more)
		})
	}
}

func TestStats_ExpiredGoesByTheLease(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, acquired_at, acquired_token)
		SELECT 'q', '', now() - make_interval(secs => n), gen_random_uuid() FROM unnest(ARRAY[10, 50, 70, 200]) AS n`)
	for after, want := range map[time.Duration]int64{0: 2, 20 * time.Second: 3, time.Hour: 0, 2 * time.Minute: 1} {
		s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{Lease: after})
		is.NoErr(err)
		is.Equal(s.Queues[0].Expired, queue.Count{N: want})
		is.True(s.Queues[0].OldestLease >= 200*time.Second)
	}
}

func TestStats_InfiniteTimesHaveNoAge(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, next_attempt_at) VALUES ('q', '', 'infinity'), ('q', '', '-infinity')`)
	run(t, db.Pool, `INSERT INTO outbox (queue, payload, acquired_at, acquired_token)
		VALUES ('q', '', 'infinity', gen_random_uuid()), ('q', '', '-infinity', gen_random_uuid())`)
	s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{})
	is.NoErr(err)
	is.Equal(lines(s), []string{"q: due 1, leased 2 (expired 1), scheduled 1, retrying 0, dead 0"})
	is.Equal(s.Queues[0].OldestDue, time.Duration(0))
	is.Equal(s.Queues[0].OldestLease, time.Duration(0))
}

func TestStats_NamesOfTablesAreQuoted(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	outbox := queue.Outbox{Schema: `a "schema'\`, Table: `out";box'`, DeadLetters: `dead {outbox} \'"`}
	run(t, db.Pool, `CREATE SCHEMA "a ""schema'\"`)
	is.NoErr(outbox.Create(t.Context(), db.Pool))
	q := queue.New("q").In(outbox)
	_, err := q.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("x"))
	is.NoErr(err)
	s, err := outbox.Stats(t.Context(), db.Pool, queue.StatsOptions{})
	is.NoErr(err)
	is.NoErr(s.DeadErr)
	is.Equal(lines(s), []string{"q: due 1, leased 0 (expired 0), scheduled 0, retrying 0, dead 0"})
	list, _, err := q.Peek(t.Context(), db.Pool, queue.StateDue, queue.Page{})
	is.NoErr(err)
	is.Equal(len(list), 1)
	u, err := outbox.Upkeep(t.Context(), db.Pool)
	is.NoErr(err)
	is.True(u.Outbox.TableBytes > 0 && u.DeadLetters != nil)
}

func TestStats_DeadLettersThatCannotBeReadFailNothingElse(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	fillStates(t, db, "q", 2)
	check := func(pool *pgxpool.Pool) queue.Stats {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		is.NoErr(err)
		s, err := queue.Outbox{}.Stats(t.Context(), tx, queue.StatsOptions{})
		is.NoErr(err)
		is.NoErr(tx.Commit(t.Context())) // the transaction goes on
		is.Equal(lines(s), []string{"q: due 2, leased 2 (expired 2), scheduled 2, retrying 2, dead 0"})
		return s
	}
	s := check(withRole(t, db, "SELECT ON outbox"))
	is.True(s.DeadErr != nil && strings.Contains(s.DeadErr.Error(), "needs SELECT"))
	is.True(!errors.Is(s.DeadErr, queue.ErrNoTable))

	run(t, db.Pool, "DROP TABLE outbox_dlq")
	s = check(db.Pool)
	is.True(errors.Is(s.DeadErr, queue.ErrNoTable))
	is.True(strings.Contains(s.DeadErr.Error(), `"outbox_dlq"`))
	u, err := queue.Outbox{}.Upkeep(t.Context(), db.Pool)
	is.NoErr(err)
	is.True(u.DeadLetters == nil)
}

func TestStats_PausedQueuesSayIt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	for _, q := range []queue.Queue{orders, queue.New("empty")} {
		_, err := q.Pause(t.Context(), queue.Autocommit(db.Pool))
		is.NoErr(err)
	}
	_, err := orders.Publish(t.Context(), queue.Autocommit(db.Pool), []byte("x"))
	is.NoErr(err)
	s, err := queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{})
	is.NoErr(err)
	is.Equal(len(s.Queues), 1) // the marks are no queue, and one that is empty is not found
	is.Equal(s.Queues[0].Queue, "orders")
	is.True(time.Since(s.Queues[0].PausedSince).Abs() < time.Minute)

	s, err = queue.Outbox{}.Stats(t.Context(), db.Pool, queue.StatsOptions{Queues: []string{"empty", "other"}})
	is.NoErr(err)
	is.True(!s.Queues[0].PausedSince.IsZero())
	is.True(s.Queues[1].PausedSince.IsZero())
}
