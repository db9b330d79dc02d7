package readme_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/readme"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/typed/typedtest"
)

// TestRemind needs no database: messages are delivered at once, and the test has the clock.
func TestRemind(t *testing.T) {
	is := is.New(t)
	box := queuetest.New(t)
	var got []int
	box.Deliver(readme.Placed.Handle(func(_ context.Context, o readme.OrderPlaced) error {
		got = append(got, o.ID)
		return nil
	}))
	is.NoErr(pgx.BeginFunc(t.Context(), box, func(tx pgx.Tx) error {
		return readme.Remind(t.Context(), tx, readme.OrderPlaced{ID: 7})
	}))
	typedtest.RequireScheduled(t, box, readme.Placed, "remind-7")

	box.Advance(24 * time.Hour)
	is.Equal(got, []int{7})
	typedtest.RequireNoneDead(t, box, readme.Placed)
}

// TestPatient runs a worker with all its loops, in a bubble where hours pass at once.
func TestPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		box := queuetest.New(t)
		attempts := 0
		worker, err := box.NewWorker(readme.Placed.Handle(func(context.Context, readme.OrderPlaced) error {
			attempts++
			return readme.ErrClosed
		}, readme.Patient))
		is.NoErr(err)
		go worker.Run(t.Context())

		_, err = readme.Placed.Publish(t.Context(), queue.Autocommit(box), readme.OrderPlaced{ID: 7})
		is.NoErr(err)
		time.Sleep(3*time.Hour + time.Minute)
		synctest.Wait()
		is.Equal(attempts, 4)
	})
}
