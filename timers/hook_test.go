package timers_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

func TestTimers_GoThroughPublishHooks(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	var told []queue.Published
	ctx := queue.WithPublishHook(t.Context(), &queue.PublishHook{
		Begin: func(_ context.Context, p queue.Publishing) (map[string]string, func(queue.Published)) {
			return map[string]string{"traceparent": "hook"}, func(p queue.Published) {
				p.Took = 0
				told = append(told, p)
			}
		},
	})
	about := queue.Publishing{Outbox: `"outbox"`, Queue: "reminders", Messages: 1}
	var first, second, moved timers.Result
	var batch []timers.Result
	commit(t, db.Pool, func(tx pgx.Tx) (err error) {
		first, err = timers.ScheduleAfter(ctx, tx, "a", time.Hour, text("1"))
		is.NoErr(err)
		second, err = timers.ScheduleAfter(ctx, tx, "a", time.Hour, text("2"))
		is.NoErr(err)
		moved, err = timers.RescheduleAfter(ctx, tx, "a", time.Hour, text("3"))
		is.NoErr(err)
		batch, err = timers.ScheduleBatch(ctx, tx,
			timers.Timer{ID: "b", After: time.Hour, Message: text("4")},
			timers.Timer{ID: "a", After: time.Hour, Message: text("5")})
		return err
	})
	is.Equal(second.Outcome, timers.AlreadyThere)
	is.Equal(moved.ID, first.ID)
	two := about
	two.Messages = 2
	is.Equal(told, []queue.Published{
		{Publishing: about, IDs: []int64{first.ID}},
		{Publishing: about}, // nothing was stored
		{Publishing: about, IDs: []int64{first.ID}},
		{Publishing: two, IDs: []int64{batch[0].ID}},
	})
	eventually(t, db.Pool, 2, "SELECT count(*) FROM outbox WHERE headers->>'traceparent' = 'hook'")

	told = nil
	_, err := timers.ScheduleAfter(ctx, queue.Autocommit(db.Pool), "", time.Hour, text("6"))
	is.Equal(len(told), 1)
	is.True(told[0].Err != nil)
	is.True(err != nil)
}
