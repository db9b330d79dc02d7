package dlq_test

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/timers"
)

// onEach runs a test on PostgreSQL, and on the outbox in memory that users test
// with: what is said about dead letters is to be true of both.
func onEach(t *testing.T, test func(t *testing.T, newDB func(*testing.T) access.Pool)) {
	t.Helper()
	for name, make := range map[string]func(*testing.T) access.Pool{
		"postgres": func(t *testing.T) access.Pool { return newDB(t).Pool },
		"memory":   func(t *testing.T) access.Pool { return queuetest.New(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, make)
		})
	}
}

func storeOf(t *testing.T, box *queuetest.Box) *memory.Store {
	t.Helper()
	table, err := queue.Outbox{}.Bind()
	if err != nil {
		t.Fatal(err)
	}
	return box.Store(table.Names())
}

// inter is fill in memory.
func inter(t *testing.T, box *queuetest.Box, list []put) (ids []int64) {
	t.Helper()
	for i, p := range list {
		d := memory.DeadLetter{
			OriginalID: int64(1000 + i), Queue: cmp.Or(p.queue, "orders"), Payload: []byte(p.payload), TimerID: p.timer,
			Deliveries: 3, CreatedAt: box.Now().Add(-24 * time.Hour), FailedAt: box.Now().Add(-p.age), Reason: cmp.Or(p.reason, queue.ReasonRejected),
		}
		if headers, ok := p.headers.(string); ok {
			d.Headers = []byte(headers)
		}
		if p.err != "" {
			d.Error = &p.err
		}
		ids = append(ids, storeOf(t, box).Inter(d))
	}
	return ids
}

func TestReplay_OnEachSubstrate(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		orders := queue.New("orders")
		commit(t, db, func(tx pgx.Tx) error {
			_, err := timers.ScheduleAfter(t.Context(), tx, "live", time.Hour, orders.Draft([]byte("live")))
			return err
		})
		headers := `{"content-type": "text/html", "correlation_id": "c-1"}`
		ids := fill(t, db, put{payload: "a", headers: headers, timer: "a"}, put{payload: "live again", timer: "live"}, put{payload: "b", headers: headers},
			put{payload: "locked"}, put{payload: "no headers"}, put{payload: "a again", timer: "a"}, put{payload: "refused"})
		lock(t, db, ids[3])
		fix := dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
			if string(l.Payload) == "refused" {
				return dlq.Fixed{}, errors.New("no")
			}
			return dlq.Fixed{Payload: append(l.Payload, '!'), ContentType: "text/plain"}, nil
		})
		before, err := letters.Get(t.Context(), db, ids[0])
		is.NoErr(err)
		is.Equal(before.CorrelationID(), "c-1")

		tx, err := db.Begin(t.Context())
		is.NoErr(err)
		done, err := letters.Replay(t.Context(), tx, append([]int64{99}, ids...), fix)
		is.NoErr(err)
		is.Equal(done.Moved, int64(3))
		var moved []int64
		for _, m := range done.Moves {
			moved = append(moved, m.Letter)
		}
		is.Equal(moved, []int64{ids[0], ids[2], ids[4]})
		why := map[int64]error{}
		for _, s := range done.Skips {
			why[s.Letter] = s.Err
		}
		is.Equal(len(why), 5)
		is.True(errors.Is(why[99], dlq.ErrNotFound))
		is.True(errors.Is(why[ids[1]], dlq.ErrTimerLive))
		is.True(errors.Is(why[ids[3]], dlq.ErrBusy))
		is.True(errors.Is(why[ids[5]], dlq.ErrTimerLive))
		is.Equal(why[ids[6]].Error()[len("dead letter 7: "):], "fix: no")
		is.Equal(letterCount(t, db), 7) // it has not committed
		is.NoErr(tx.Rollback(t.Context()))
		is.Equal(messageCount(t, db), 1)

		done, err = letters.Replay(t.Context(), queue.Autocommit(db), ids[:1], fix)
		is.NoErr(err)
		live, ok, err := timers.Of(orders).Get(t.Context(), db, "a")
		is.NoErr(err)
		is.True(ok)
		is.Equal(live.ID, done.Moves[0].Message)
		is.Equal(string(live.Payload), "a!")
		is.Equal(live.Headers(), map[string]string{"content-type": "text/plain", "correlation_id": "c-1"})
		is.True(live.CreatedAt.Equal(before.CreatedAt))
		is.Equal(live.Attempts+live.Deliveries, int64(0))

		_, err = letters.Get(t.Context(), db, ids[0])
		is.True(errors.Is(err, dlq.ErrNotFound))
		done, err = letters.ReplayAll(t.Context(), db, dlq.Filter{}, dlq.To("repairs"), dlq.Batch(2))
		is.NoErr(err)
		is.Equal(done.Moved, int64(5))
		is.Equal(letterCount(t, db), 1) // the one that is locked
		all := queuetest.Messages(t, db, queue.New("repairs"))
		is.Equal(len(all), 5)
		is.Equal(string(all[0].Payload), "live again") // there its timer id is free
		is.Equal(all[0].TimerID, "live")
	})
}
