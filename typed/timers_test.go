package typed_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

func TestTimers_CarryValues(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ctx := t.Context()
	q := typed.NewQueue("timed", codec.MsgPack[order]())
	hour := time.Now().Add(time.Hour).Truncate(time.Microsecond)

	commit(t, db.Pool, func(tx pgx.Tx) error {
		res, err := q.Schedule(ctx, tx, "a", hour, order{ID: 1}, queue.CorrelationID("c-1"), queue.Headers(map[string]string{"tenant": "x"}))
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Scheduled)
		is.True(res.DueAt.Equal(hour))
		res, err = q.ScheduleAfter(ctx, tx, "a", time.Minute, order{ID: 2})
		is.NoErr(err)
		is.Equal(res.Outcome, timers.AlreadyThere)
		many, err := q.ScheduleBatch(ctx, tx, []typed.Timer[order]{
			{ID: "b", At: hour.Add(time.Hour), Value: order{ID: 3}},
			{ID: "b", After: time.Second, Value: order{ID: 4}},
			{ID: "c", After: 24 * time.Hour, Value: order{ID: 5}},
		}, queue.CorrelationID("c-2"))
		is.NoErr(err)
		is.Equal([]timers.Outcome{many[0].Outcome, many[1].Outcome, many[2].Outcome}, []timers.Outcome{timers.Scheduled, timers.Repeated, timers.Scheduled})
		res, err = q.Reschedule(ctx, tx, "c", hour.Add(2*time.Hour), order{ID: 6}, queue.CorrelationID("c-3"), timers.Keep(timers.Earliest))
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Rescheduled)
		res, err = q.RescheduleAfter(ctx, tx, "d", 48*time.Hour, order{ID: 7}, timers.WhenRunning(timers.Refuse))
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Scheduled)
		return nil
	})

	// A row of a writer that does not know the type.
	_, err := db.Pool.Exec(ctx, `INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at)
		VALUES ('timed', 'no order', '{"content-type": "application/json"}', 'e', now() + interval '1 year')`)
	is.NoErr(err)

	list, err := q.Timers().List(ctx, db.Pool, timers.Filter{}, timers.Page{})
	is.NoErr(err)
	is.Equal(len(list), 5)
	var got []string
	for _, l := range list[:4] {
		is.NoErr(l.Err)
		got = append(got, l.TimerID+l.CorrelationID()+strings.Repeat("i", l.Value.ID))
	}
	is.Equal(got, []string{"ac-1i", "bc-2iii", "cc-3iiiiii", "d" + list[3].CorrelationID() + "iiiiiii"})
	is.Equal(list[0].Header("tenant"), "x")
	is.True(list[4].Err != nil)
	is.Equal(string(list[4].Payload), "no order")

	live, ok, err := q.Timers().Get(ctx, db.Pool, "b")
	is.NoErr(err)
	is.True(ok)
	is.Equal(live.Value, order{ID: 3})
	_, ok, err = q.Timers().Get(ctx, db.Pool, "z")
	is.NoErr(err)
	is.True(!ok)
	n, err := q.Timers().Count(ctx, db.Pool, timers.Filter{})
	is.NoErr(err)
	is.Equal(n, timers.Counts{Waiting: 5})
	at, ok, err := q.Timers().NextDue(ctx, db.Pool)
	is.NoErr(err)
	is.True(ok && at.Equal(hour))

	commit(t, db.Pool, func(tx pgx.Tx) error {
		res, err := q.Cancel(ctx, tx, "a")
		is.NoErr(err)
		is.Equal(res.Outcome, timers.Cancelled)
		some, err := q.CancelPrefix(ctx, tx, "b")
		is.NoErr(err)
		is.Equal(some.Cancelled, int64(1))
		all, err := q.CancelAll(ctx, tx)
		is.Equal(all, timers.CancelCount{Cancelled: 3})
		return err
	})
	is.Equal(rows(t, db.Pool, "outbox"), 0)
}

func TestTimers_AreHandledAsMessagesAre(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	got := make(chan *typed.Message[order], 1)
	start(t, db.Pool, orders.HandleMessage(func(_ context.Context, m *typed.Message[order]) error {
		got <- m
		return nil
	}))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := orders.ScheduleAfter(t.Context(), tx, "order-1", 50*time.Millisecond, order{ID: 1})
		return err
	})
	m := next(t, got)
	is.Equal(m.Value, order{ID: 1})
	is.Equal(m.TimerID, "order-1")
	is.True(m.DueAt.Sub(m.CreatedAt) == 50*time.Millisecond)
	is.True(!m.ClaimedAt.Before(m.DueAt)) // both by the database's clock
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

func TestTimers_RefuseBadInput(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	ctx := t.Context()
	soon := time.Now().Add(time.Hour)
	broken := typed.NewQueue[chan int]("broken")
	for name, tt := range map[string]struct {
		do   func(tx queue.Tx) error
		want error
		says string
	}{
		"value that does not encode": {func(tx queue.Tx) error { _, err := broken.Schedule(ctx, tx, "t", soon, make(chan int)); return err }, nil, "chan int"},
		"in a batch": {func(tx queue.Tx) error {
			_, err := broken.ScheduleBatch(ctx, tx, []typed.Timer[chan int]{{ID: "t", At: soon, Value: make(chan int)}})
			return err
		}, nil, "chan int"},
		"rescheduled": {func(tx queue.Tx) error { _, err := broken.Reschedule(ctx, tx, "t", soon, make(chan int)); return err }, nil, "chan int"},
		"bad queue":   {func(tx queue.Tx) error { _, err := typed.NewQueue[order]("").Cancel(ctx, tx, "t"); return err }, queue.ErrInvalidName, ""},
		"zero queue": {func(tx queue.Tx) error {
			_, err := typed.Queue[order]{}.Schedule(ctx, tx, "t", soon, order{})
			return err
		}, queue.ErrNotMade, ""},
		"bad id": {func(tx queue.Tx) error {
			_, err := orders.Schedule(ctx, tx, "", soon, order{Note: "secret"})
			return err
		}, timers.ErrInvalidID, `queue "orders"`},
		"zero time": {func(tx queue.Tx) error { _, err := orders.Reschedule(ctx, tx, "t", time.Time{}, order{}); return err }, timers.ErrInvalidTime, `timer "t"`},
		"list of no one": {func(tx queue.Tx) error {
			_, err := typed.Queue[order]{}.Timers().List(ctx, tx, timers.Filter{}, timers.Page{})
			return err
		}, queue.ErrNotMade, ""},
		"no transaction": {func(queue.Tx) error { _, err := orders.ScheduleAfter(ctx, nil, "t", 0, order{}); return err }, queue.ErrNoTransaction, ""},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var err error
			commit(t, db.Pool, func(tx pgx.Tx) error { err = tt.do(tx); return nil })
			is.True(err != nil)
			is.True(tt.want == nil || errors.Is(err, tt.want))
			if !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("it says %q", err)
			}
		})
	}
	is.New(t).Equal(rows(t, db.Pool, "outbox"), 0)
}
