package typed_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

type reported struct{ Tick time.Time }

func TestRecur_CarriesValues(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	q := typed.NewQueue("reports", codec.MsgPack[reported]())
	const interval = 200 * time.Millisecond
	got := make(chan reported, 100)
	start(t, db.Pool, q.Handle(func(_ context.Context, r reported) error {
		got <- r
		return nil
	}, queue.Concurrency(1)), q.Recur("often", timers.Every(interval), func(t timers.Tick) reported { return reported{t.At} }, timers.CatchUp()))
	first, second := next(t, got), next(t, got)
	is.Equal(second.Tick.Sub(first.Tick), interval)

	_, err := queue.NewWorker(db.Pool, q.Recur("never", timers.Cron("0 0 31 2 *", ""), nil))
	is.True(strings.Contains(err.Error(), "never fires"))
	_, err = queue.NewWorker(db.Pool, q.Recur("nothing", timers.Every(time.Hour), nil))
	is.True(strings.Contains(err.Error(), "is nil"))
	_, err = queue.NewWorker(db.Pool, typed.Queue[reported]{}.Recur("zero", timers.Every(time.Hour), func(timers.Tick) reported { return reported{} }))
	is.True(strings.Contains(err.Error(), "zero value"))
}
