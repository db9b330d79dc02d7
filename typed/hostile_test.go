package typed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// hostile are names that nobody should give, and everybody may. x is a table of
// somebody else's.
var hostile = []struct {
	name, schema, table, deadLetters string
	queue                            string // and the ids of timers, and the values
}{
	{"injections", `s"; DROP TABLE x; --`, `t"; DROP TABLE x; --`, `d'; DROP TABLE x; --`, `q'); DROP TABLE x; --"`},
	{"quotes and backslashes", `a'b"c\`, `''""\\'`, `"`, `E'\''$$"`},
	{"spaces, dots and upper case", ` A.B `, `Order Outbox.v2`, `ORDER.outbox`, ` Orders . Placed `},
	{"unicode", "schéma-名前", "ящик\u200f📮 table", "死信", strings.Repeat("📮", 255)},
	{"what statements have inside", "{outbox}", "{dlq}", "{tell:queue}", "{q} $1 {channel}"},
	{"keywords and control characters", "select", "user", "table", "null\r\n\t\x01\u2028/*"},
}

func TestHostileNames_LiveAWholeLife(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		for _, h := range hostile {
			t.Run(fmt.Sprint(h.name, ", ", mode), func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := pgtest.New(t, pgtest.Schema("CREATE TABLE x (n int); INSERT INTO x VALUES (1)"))
				pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
				_, err := pool.Exec(t.Context(), "CREATE SCHEMA "+pgx.Identifier{h.schema}.Sanitize())
				is.NoErr(err)
				o := queue.Outbox{Schema: h.schema, Table: h.table, DeadLetters: h.deadLetters}
				is.NoErr(o.Create(t.Context(), pool))
				is.NoErr(o.Create(t.Context(), pool))

				l := life{
					db: db, pool: pool, name: h.queue,
					queue:   typed.NewQueue[string](h.queue).In(o),
					outbox:  pgx.Identifier{h.schema, h.table}.Sanitize(),
					handled: make(chan string, 3000),
				}
				l.timers(t)
				l.worker(t)
				l.deadLetters(t)

				is.Equal(rows(t, pool, "x"), 1) // it is still there
				var tables []string
				is.NoErr(pool.QueryRow(t.Context(), `SELECT array_agg(relname::text ORDER BY relname::text COLLATE "C") FROM pg_class
					WHERE relkind = 'r' AND relnamespace <> ALL ('{pg_catalog,information_schema,pg_toast}'::regnamespace[])`).Scan(&tables))
				want := []string{h.table, h.deadLetters, "x"}
				slices.Sort(want)
				is.Equal(tables, want)
			})
		}
	}
}

// life is what a queue goes through. Its name is also what its timers are called
// and what its values begin with.
type life struct {
	db      *pgtest.DB
	pool    *pgxpool.Pool
	name    string
	queue   typed.Queue[string]
	outbox  string // for SQL
	handled chan string
}

// id is a timer's id that begins as hostile as the name.
func (l *life) id(n int) string {
	return string([]rune(l.name)[:min(250, len([]rune(l.name)))]) + fmt.Sprint(n)
}

// timers schedules, moves, lists and cancels, and leaves nothing.
func (l *life) timers(t *testing.T) {
	t.Helper()
	is := is.New(t)
	commit(t, l.pool, func(tx pgx.Tx) error {
		later := time.Now().Add(time.Hour)
		_, err := l.queue.Schedule(t.Context(), tx, l.id(0), later, l.name)
		is.NoErr(err)
		batch := []typed.Timer[string]{{ID: l.id(1), At: later, Value: l.name}, {ID: l.id(2), After: time.Hour, Value: l.name}}
		_, err = l.queue.ScheduleBatch(t.Context(), tx, batch)
		is.NoErr(err)
		moved, err := l.queue.Reschedule(t.Context(), tx, l.id(0), later.Add(time.Hour), l.name+"!")
		is.NoErr(err)
		is.Equal(moved.Outcome, timers.Rescheduled)
		list, err := l.queue.Timers().List(t.Context(), tx, timers.Filter{Queue: l.name, Prefix: l.id(0)}, timers.Page{})
		is.NoErr(err)
		is.Equal(len(list), 1)
		is.Equal(list[0].TimerID, l.id(0))
		is.Equal(list[0].Value, l.name+"!")
		there, ok, err := l.queue.Timers().Get(t.Context(), tx, l.id(1))
		is.NoErr(err)
		is.True(ok && there.Value == l.name)
		count, err := l.queue.Timers().Count(t.Context(), tx, timers.Filter{})
		is.NoErr(err)
		is.Equal(count.Waiting, int64(3))
		_, ok, err = l.queue.Timers().NextDue(t.Context(), tx)
		is.NoErr(err)
		is.True(ok)
		gone, err := l.queue.Cancel(t.Context(), tx, l.id(0))
		is.NoErr(err)
		is.Equal(gone.Outcome, timers.Cancelled)
		some, err := l.queue.CancelPrefix(t.Context(), tx, l.id(1))
		is.NoErr(err)
		is.Equal(some.Cancelled, int64(1))
		all, err := l.queue.CancelAll(t.Context(), tx)
		is.NoErr(err)
		is.Equal(all.Cancelled, int64(1))
		return nil
	})
}

// worker publishes in every way to handlers of every form, and leaves one dead
// letter. Nothing polls, so everything that arrives was notified, or due.
func (l *life) worker(t *testing.T) {
	t.Helper()
	is := is.New(t)
	var (
		inTx  = typed.NewQueue[string](l.id(3)).In(l.queue.Bytes().Outbox())
		held  = typed.NewQueue[string](l.id(4)).In(l.queue.Bytes().Outbox())
		tried = map[string]int{} // of one handler at a time

		extending = make(chan *queue.Delivery)
		extended  = make(chan struct{})
	)
	stop := start(t, l.pool, queue.PollInterval(time.Hour), queue.BlindPollInterval(time.Hour), queue.Lease(300*time.Millisecond),
		l.queue.Handle(func(ctx context.Context, v string) error {
			d, _ := queue.FromContext(ctx)
			tried[v]++
			switch strings.TrimPrefix(v, l.name) {
			case " retried":
				if tried[v] == 1 {
					return errBroken
				}
			case " released":
				if tried[v] == 1 {
					return queue.Snooze(0)
				}
			case " extended": // outlives its lease
				extending <- d
				<-extended
			case " buried":
				return queue.Permanent(errBroken)
			}
			l.handled <- v
			return nil
		}, queue.Concurrency(1), queue.Retry(retry.Constant{Delay: time.Millisecond})),
		inTx.HandleTx(func(ctx context.Context, tx pgx.Tx, v string) error {
			_, err := held.Publish(ctx, tx, v)
			return err
		}),
		held.HandleBatchTx(func(_ context.Context, _ pgx.Tx, ms []*typed.Message[string]) []error {
			for _, m := range ms {
				l.handled <- m.Value
			}
			return make([]error, len(ms))
		}),
	)
	defer func() { is.NoErr(stop()) }()
	value := func(kind string) string { return l.name + " " + kind }

	_, err := l.queue.Publish(t.Context(), queue.Autocommit(l.pool), value("published"))
	is.NoErr(err)
	is.Equal(next(t, l.handled), value("published"))

	var more []string
	for _, kind := range []string{"extended", "retried", "released", "buried", "batch"} {
		more = append(more, value(kind))
	}
	commit(t, l.pool, func(tx pgx.Tx) error {
		_, err1 := l.queue.PublishBatch(t.Context(), tx, more, queue.Headers(map[string]string{l.name: l.name}), queue.CorrelationID(l.name))
		_, err2 := inTx.Publish(t.Context(), tx, value("in a transaction"))
		_, err3 := l.queue.ScheduleAfter(t.Context(), tx, l.id(5), 20*time.Millisecond, value("scheduled"))
		return errors.Join(err1, err2, err3)
	})
	d := next(t, extending)
	eventually(t, l.pool, true, "SELECT acquired_at > $2 FROM "+l.outbox+" WHERE id = $1", d.ID, d.ClaimedAt.Add(300*time.Millisecond))
	close(extended)

	std, err := sql.Open("pgx", l.db.DSN)
	is.NoErr(err)
	defer std.Close()
	stdTx, err := std.BeginTx(t.Context(), nil)
	is.NoErr(err)
	_, err = l.queue.Publish(t.Context(), queue.SQL(stdTx), value("through database/sql"))
	is.NoErr(err)
	is.NoErr(stdTx.Commit())
	want := []string{value("in a transaction"), value("scheduled"), value("through database/sql")}
	for _, v := range more {
		if v != value("buried") {
			want = append(want, v)
		}
	}
	var got []string
	for range want {
		got = append(got, next(t, l.handled))
	}
	slices.Sort(want)
	slices.Sort(got)
	is.Equal(got, want)

	pause := func(what func(context.Context, queue.Tx) (bool, error)) {
		t.Helper()
		commit(t, l.pool, func(tx pgx.Tx) error {
			changed, err := what(t.Context(), tx)
			is.True(changed)
			return err
		})
	}
	pause(l.queue.Bytes().Pause)
	_, err = l.queue.Publish(t.Context(), queue.Autocommit(l.pool), value("paused"))
	is.NoErr(err)
	paused, err := l.queue.Bytes().Outbox().Paused(t.Context(), l.pool)
	is.NoErr(err)
	is.Equal(len(paused), 1)
	is.Equal(paused[0].Queue, l.name)
	pause(l.queue.Bytes().Resume)
	is.Equal(next(t, l.handled), value("paused"))

	const many = 2500 // by COPY
	commit(t, l.pool, func(tx pgx.Tx) error {
		_, err := held.PublishBatch(t.Context(), tx, slices.Repeat([]string{value("copied")}, many))
		return err
	})
	for range many {
		is.Equal(next(t, l.handled), value("copied"))
	}
	eventually(t, l.pool, 0, "SELECT count(*)::int FROM "+l.outbox)
}

// deadLetters looks at the one that worker left, replays it twice, and purges it.
func (l *life) deadLetters(t *testing.T) {
	t.Helper()
	is := is.New(t)
	dead := l.queue.DeadLetters()
	only := func() typed.DeadLetter[string] {
		t.Helper()
		list, err := dead.List(t.Context(), l.pool, dlq.Filter{Queue: l.name, Reason: queue.ReasonRetryTerminal, ErrorContains: errBroken.Error()}, dlq.Page{})
		is.NoErr(err)
		is.Equal(len(list), 1)
		return list[0]
	}
	letter := only()
	is.Equal(letter.Value, l.name+" buried")
	is.Equal(letter.CorrelationID(), l.name)
	is.Equal(letter.Header(l.name), l.name)
	counts, err := dead.Count(t.Context(), l.pool, dlq.Filter{})
	is.NoErr(err)
	is.Equal(len(counts), 1)
	is.Equal(counts[0].Queue, l.name)

	bury := func(opts ...queue.WorkerOption) {
		t.Helper()
		stop := start(t, l.pool, append(opts, l.queue.Handle(func(context.Context, string) error { return queue.Permanent(errBroken) }))...)
		eventually(t, l.pool, 0, "SELECT count(*)::int FROM "+l.outbox)
		is.NoErr(stop())
	}
	fix := dead.Fix(func(v string) (string, error) { return v + "?", nil })
	commit(t, l.pool, func(tx pgx.Tx) error {
		done, err := dead.Replay(t.Context(), tx, []int64{letter.ID}, fix)
		is.Equal(done.Moved, int64(1))
		return err
	})
	bury()
	is.Equal(only().Value, l.name+" buried?")
	done, err := dead.ReplayAll(t.Context(), l.pool, dlq.Filter{}, dlq.To(l.name))
	is.NoErr(err)
	is.Equal(done.Moved, int64(1))
	bury()
	n, err := dead.Purge(t.Context(), l.pool, dlq.Filter{IDs: []int64{only().ID}})
	is.NoErr(err)
	is.Equal(n, int64(1))

	_, err = l.queue.Publish(t.Context(), queue.Autocommit(l.pool), l.name)
	is.NoErr(err)
	bury()
	stop := start(t, l.pool, l.queue.Handle(func(context.Context, string) error { return nil }), dead.Retain(time.Microsecond, dlq.Every(time.Millisecond)))
	eventually(t, l.pool, 0, "SELECT count(*)::int FROM "+pgx.Identifier{l.queue.Bytes().Outbox().Schema, l.queue.Bytes().Outbox().DeadLetters}.Sanitize())
	is.NoErr(stop())
}
