package dlq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx" of database/sql
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestReplay_CommitsWithTheCaller(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ids := fill(t, db.Pool, put{}, put{}, put{})
	changed := errors.New("changed my mind")
	err := pgx.BeginFunc(t.Context(), db.Pool, func(tx pgx.Tx) error {
		done, err := letters.Replay(t.Context(), tx, ids)
		is.NoErr(err)
		is.Equal(done.Moved, int64(3))
		return changed
	})
	is.True(errors.Is(err, changed))
	is.Equal(letterCount(t, db.Pool), 3)
	is.Equal(messageCount(t, db.Pool), 0)

	commit(t, db.Pool, func(tx pgx.Tx) error {
		done, err := letters.Replay(t.Context(), tx, ids[:1])
		is.NoErr(err)
		is.Equal(done.Moves, []dlq.Move{{Letter: ids[0], Message: get[int64](t, db.Pool, "SELECT last_value FROM outbox_id_seq")}})
		return err
	})
	is.Equal(letterCount(t, db.Pool), 2)

	std, err := sql.Open("pgx", db.DSN)
	is.NoErr(err)
	defer std.Close()
	tx, err := std.Begin()
	is.NoErr(err)
	done, err := letters.Replay(t.Context(), queue.SQL(tx), []int64{ids[1], 99}, dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
		return dlq.Fixed{Payload: []byte("fixed")}, nil
	}))
	is.NoErr(err)
	is.Equal(done.Moved, int64(1))
	is.Equal(done.Skipped, int64(1))
	is.NoErr(tx.Commit())

	done, err = letters.Replay(t.Context(), queue.Autocommit(db.Pool), ids[2:])
	is.NoErr(err)
	is.Equal(done.Moved, int64(1))
	is.Equal(letterCount(t, db.Pool), 0)
	is.Equal(messageCount(t, db.Pool), 3)

	done, err = letters.Replay(t.Context(), queue.Autocommit(db.Pool), nil)
	is.NoErr(err)
	is.Equal(done, dlq.Replayed{})
}

func TestReplay_GivesBackTheMessageAsItWas(t *testing.T) {
	t.Parallel()
	headers := `{"content-type": "application/json", "correlation_id": "c-1", "tries": 3}`
	letters := dlq.In(queue.Outbox{Notify: queue.NotifyAlways}) // for there is no worker that sleeps
	for _, tt := range []struct {
		name string
		put  put
		opts []dlq.ReplayOption
		to   string
	}{
		{"a message", put{payload: `{"id":1}`, headers: headers}, nil, "orders"},
		{"a timer", put{payload: `{"id":1}`, headers: headers, timer: "order-1"}, nil, "orders"},
		{"nothing at all", put{}, nil, "orders"},
		{"bytes and headers that are no object", put{payload: "\x00\xff", headers: "[1]"}, nil, "orders"},
		{"to another queue", put{headers: headers, timer: "order-1"}, []dlq.ReplayOption{dlq.To("repairs")}, "repairs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for name, replay := range map[string]func(db *pgtest.DB, id int64) (dlq.Replayed, error){
				"by id": func(db *pgtest.DB, id int64) (dlq.Replayed, error) {
					return letters.Replay(t.Context(), queue.Autocommit(db.Pool), []int64{id}, tt.opts...)
				},
				"by filter": func(db *pgtest.DB, _ int64) (dlq.Replayed, error) {
					var opts []dlq.ReplayAllOption
					for _, o := range tt.opts {
						opts = append(opts, o)
					}
					return letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, opts...)
				},
			} {
				t.Run(name, func(t *testing.T) {
					is := is.New(t)
					db := newDB(t)
					told := listen(t, db)
					before, err := letters.Get(t.Context(), db.Pool, fill(t, db.Pool, tt.put)[0])
					is.NoErr(err)
					done, err := replay(db, before.ID)
					is.NoErr(err)
					is.Equal(done.Moved, int64(1))
					is.Equal(done.Moves[0].Letter, before.ID)
					is.Equal(told(), tt.to) // the workers were told
					is.Equal(letterCount(t, db.Pool), 0)

					var (
						queue, head string
						payload     []byte
						headers     []byte
						timer       *string
						created     time.Time
						counts      int
						fresh       bool
					)
					is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT queue, payload, headers, COALESCE(headers::text, ''), timer_id, created_at,
						attempts_count + deliveries_count,
						next_attempt_at <= now() AND next_attempt_at > now() - interval '1 minute'
						AND first_attempt_at IS NULL AND last_attempt_at IS NULL AND acquired_at IS NULL AND acquired_token IS NULL
						FROM outbox WHERE id = $1`, done.Moves[0].Message).Scan(&queue, &payload, &headers, &head, &timer, &created, &counts, &fresh))
					is.Equal(queue, tt.to)
					is.Equal(payload, before.Payload)
					is.Equal(headers == nil, tt.put.headers == nil)
					if tt.put.headers != nil {
						is.Equal(get[bool](t, db.Pool, "SELECT $1::jsonb = $2::jsonb", head, tt.put.headers), true)
					}
					is.Equal(timer == nil, tt.put.timer == "")
					is.True(created.Equal(before.CreatedAt))
					is.Equal(counts, 0)
					is.True(fresh) // due now, never tried, held by nobody
				})
			}
		})
	}
}

// listen returns what waits for a notification and gives its queue.
func listen(t *testing.T, db *pgtest.DB) func() string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "LISTEN outbox_outbox"); err != nil {
		t.Fatal(err)
	}
	return func() string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n.Payload
	}
}

func TestReplay_ReportsWhatCannotGoBack(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, timer_id) VALUES ('orders', 'live', 'order-1')`)
	is.NoErr(err)
	ids := fill(t, db.Pool, put{timer: "order-1"}, put{}, put{timer: "order-2"}, put{timer: "order-2"}, put{}, put{queue: "mails", timer: "order-1"})
	lock(t, db.Pool, ids[4])
	const gone = 77

	commit(t, db.Pool, func(tx pgx.Tx) error {
		done, err := letters.Replay(t.Context(), tx, append([]int64{gone, ids[1], gone}, ids...))
		is.NoErr(err)
		is.Equal(done.Moved, int64(3)) // 1, the first of order-2, and order-1 of the other queue
		is.Equal(done.Skipped, int64(4))
		is.Equal(len(done.Moves), 3)
		is.Equal([]int64{done.Moves[0].Letter, done.Moves[1].Letter, done.Moves[2].Letter}, []int64{ids[1], ids[2], ids[5]})
		for _, s := range done.Skips {
			switch s.Letter {
			case ids[0], ids[3]:
				is.True(errors.Is(s.Err, dlq.ErrTimerLive))
			case ids[4]:
				is.True(errors.Is(s.Err, dlq.ErrBusy))
			case gone:
				is.True(errors.Is(s.Err, dlq.ErrNotFound))
				is.Equal(s.Err.Error(), "dead letter 77: no such dead letter")
			default:
				t.Errorf("letter %d is reported: %v", s.Letter, s.Err)
			}
		}
		return nil
	})
	is.Equal(letterCount(t, db.Pool), 3)
	is.Equal(get[string](t, db.Pool, "SELECT convert_from(payload, 'UTF8') FROM outbox WHERE queue = 'orders' AND timer_id = 'order-1'"), "live")

	// A queue's letters are no other queue's.
	done, err := dlq.Of(queue.New("mails")).Replay(t.Context(), queue.Autocommit(db.Pool), ids[:1])
	is.NoErr(err)
	is.True(errors.Is(done.Skips[0].Err, dlq.ErrNotFound))
	// Elsewhere the timer id is free.
	done, err = letters.Replay(t.Context(), queue.Autocommit(db.Pool), ids[:1], dlq.To("repairs"))
	is.NoErr(err)
	is.Equal(done.Moved, int64(1))
}

func TestReplay_Fixes(t *testing.T) {
	t.Parallel()
	refused := errors.New("no such customer")
	fix := dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
		switch string(l.Payload) {
		case "refuse":
			return dlq.Fixed{}, refused
		case "panic":
			panic("a bug")
		case "bad type":
			return dlq.Fixed{ContentType: "a\x00"}, nil
		case "empty":
			return dlq.Fixed{ContentType: "text/plain"}, nil
		}
		return dlq.Fixed{Payload: append(l.Payload, " and ☃"...), ContentType: l.Header("wanted")}, nil
	})
	list := []put{
		{payload: "plain"},
		{payload: "typed", headers: `{"content-type": "text/html", "wanted": "text/plain", "correlation_id": "c-1"}`},
		{payload: "refuse"}, {payload: "panic"}, {payload: "bad type"},
		{payload: "empty", headers: `[]`},
		{payload: "empty", headers: nil},
		{payload: "timer", timer: "live"},
	}
	for name, replay := range map[string]func(db *pgtest.DB, ids []int64) (dlq.Replayed, error){
		"by id": func(db *pgtest.DB, ids []int64) (dlq.Replayed, error) {
			return letters.Replay(t.Context(), queue.Autocommit(db.Pool), ids, fix)
		},
		"by filter": func(db *pgtest.DB, _ []int64) (dlq.Replayed, error) {
			return letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, fix)
		},
		"by filter, one by one": func(db *pgtest.DB, _ []int64) (dlq.Replayed, error) {
			return letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, fix, dlq.Batch(1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, timer_id) VALUES ('orders', 'live', 'live')`)
			is.NoErr(err)
			ids := fill(t, db.Pool, list...)
			done, err := replay(db, ids)
			is.NoErr(err)
			is.Equal(done.Moved, int64(4))
			is.Equal(done.Skipped, int64(4))
			for _, s := range done.Skips {
				var panicked *queue.PanicError
				switch s.Letter {
				case ids[2]:
					is.True(errors.Is(s.Err, refused))
				case ids[3]:
					is.True(errors.As(s.Err, &panicked))
					is.Equal(panicked.Value, "a bug")
				case ids[4]:
					is.True(errors.Is(s.Err, queue.ErrInvalidHeader))
				case ids[7]:
					is.True(errors.Is(s.Err, dlq.ErrTimerLive))
				}
			}
			rows, err := db.Pool.Query(t.Context(), `SELECT concat_ws(' | ', convert_from(payload, 'UTF8'), headers) FROM outbox WHERE timer_id IS NULL ORDER BY id`)
			is.NoErr(err)
			got, err := pgx.CollectRows(rows, pgx.RowTo[string])
			is.NoErr(err)
			is.Equal(got, []string{
				"plain and ☃",
				`typed and ☃ | {"wanted": "text/plain", "content-type": "text/plain", "correlation_id": "c-1"}`,
				` | {"content-type": "text/plain"}`,
				` | {"content-type": "text/plain"}`,
			})
			is.Equal(get[string](t, db.Pool, "SELECT string_agg(convert_from(payload, 'UTF8'), ',' ORDER BY id) FROM outbox_dlq"), "refuse,panic,bad type,timer")
		})
	}
}

// A letter that another replay takes while its fix is made is moved once.
func TestReplay_FixOfALetterThatIsGoneMeanwhile(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ids := fill(t, db.Pool, put{}, put{}, put{})
	steal := dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
		if l.ID == ids[1] {
			_, err := letters.Replay(t.Context(), queue.Autocommit(db.Pool), ids[1:2])
			is.NoErr(err)
		}
		return dlq.Fixed{Payload: []byte("fixed")}, nil
	})
	done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, steal)
	is.NoErr(err)
	is.Equal(done.Moved, int64(2))
	is.Equal(done.Skipped, int64(0)) // it is where it was meant to be
	is.Equal(messageCount(t, db.Pool), 3)

	ids = fill(t, db.Pool, put{}, put{})
	done, err = letters.Replay(t.Context(), queue.Autocommit(db.Pool), ids, steal)
	is.NoErr(err)
	is.Equal(reasons(done), map[int64]string{ids[1]: fmt.Sprintf("dead letter %d: no such dead letter", ids[1])})
	is.Equal(messageCount(t, db.Pool), 5)
}

func TestReplay_OnTablesThatOthersMade(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"bigserial PRIMARY KEY", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			schema, err := queue.Outbox{Schema: `a "quoted" schema`, Table: `Out'box{dlq}`, DeadLetters: `dead\letters`}.SQL()
			is.NoErr(err)
			schema = strings.ReplaceAll(schema, "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", id)
			db := pgtest.New(t, pgtest.Schema(`CREATE SCHEMA "a ""quoted"" schema";`+schema))
			_, err = db.Pool.Exec(t.Context(), `INSERT INTO "a ""quoted"" schema"."dead\letters" (original_id, queue, payload, deliveries_count, created_at, failure_reason)
				SELECT n, 'orders', '', 1, now(), 'rejected' FROM generate_series(1, 3) AS n`)
			is.NoErr(err)
			theirs := dlq.In(queue.Outbox{Schema: `a "quoted" schema`, Table: `Out'box{dlq}`, DeadLetters: `dead\letters`})
			list, err := theirs.List(t.Context(), db.Pool, dlq.Filter{}, dlq.Page{})
			is.NoErr(err)
			done, err := theirs.Replay(t.Context(), queue.Autocommit(db.Pool), idsOf(list[:1]))
			is.NoErr(err)
			is.Equal(done.Moved, int64(1))
			done, err = theirs.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, dlq.Limit(1))
			is.NoErr(err)
			is.Equal(done.Moved, int64(1))
			n, err := theirs.Purge(t.Context(), db.Pool, dlq.Everything())
			is.NoErr(err)
			is.Equal(n, int64(1))
			is.Equal(get[int](t, db.Pool, `SELECT count(*) FROM "a ""quoted"" schema"."Out'box{dlq}"`), 2)
		})
	}
}
