package typedtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/typed"
	"github.com/letterbox-go/letterbox/typed/typedtest"
)

// What is asked of a transaction on PostgreSQL can be asked of one of a box.
func TestRequire_OfABox(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	tx, err := box.Begin(t.Context())
	is.NoErr(err)
	publishAll(t, tx)
	m := typedtest.RequirePublished(t, tx, placed, withID(1))
	is.Equal(m.Headers["tenant"], "a")
	typedtest.RequireNotPublished(t, tx, placed, withID(3))
	typedtest.RequireNotPublished(t, box, placed, nil)
	timer := typedtest.RequireScheduled(t, tx, shipped, "order-3")
	is.Equal(timer.Delay(), time.Hour)
	is.Equal(len(typedtest.Pending(t, tx, placed)), 3)
	is.Equal(len(typedtest.Scheduled(t, tx, shipped)), 1)
	is.NoErr(tx.Commit(t.Context()))
	typedtest.RequirePublished(t, box, placed, withID(1))
	typedtest.RequireScheduled(t, box, shipped, "order-3")
}

func TestRequire_OfWhatHasBeenHandled(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	box := queuetest.New(t)
	var got []int
	box.Deliver(
		placed.HandleTx(func(ctx context.Context, tx pgx.Tx, o order) error {
			got = append(got, o.ID)
			_, err := shipped.ScheduleAfter(ctx, tx, "ship", time.Hour, o)
			return err
		}),
		shipped.Handle(func(_ context.Context, o order) error {
			got = append(got, -o.ID)
			return errors.New("no ship")
		}, queue.Retry(retry.Never{})),
	)
	_, err := placed.Publish(t.Context(), queue.Autocommit(box), order{7})
	is.NoErr(err)
	is.Equal(got, []int{7})
	is.Equal(len(typedtest.Messages(t, box, placed)), 0)
	typedtest.RequirePublished(t, box, placed, withID(7)) // it was
	typedtest.RequireScheduled(t, box, shipped, "ship")
	typedtest.RequireNoneDead(t, box, shipped)
	box.Advance(time.Hour)
	is.Equal(got, []int{7, -7})
	is.Equal(typedtest.RequireDead(t, box, shipped, withID(7)).Error, "no ship")
}

// Dead letters, what is pending and what is scheduled are read in a transaction on
// PostgreSQL too: here one in which a worker's statements have left them.
func TestRequireDead_InATransaction(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	publishAll(t, tx)
	is.Equal(len(typedtest.Pending(t, tx, placed)), 3)
	is.Equal(len(typedtest.Scheduled(t, tx, placed)), 0)
	is.Equal(len(typedtest.Scheduled(t, tx, shipped)), 1)
	typedtest.RequireNoneDead(t, tx, placed)
	_, err = tx.Exec(t.Context(), `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason, last_exception, timer_id)
		VALUES (1, 'shipped', '{"ID": 1}', '{"content-type": "application/json", "tenant": "a"}', 3, now(), 'rejected', 'no ship', 'ship'),
		       (2, 'shipped', '?', NULL, 1, now(), 'decode_error', NULL, NULL)`)
	is.NoErr(err)
	d := typedtest.RequireDead(t, tx, shipped, withID(1))
	is.Equal(d.Value, order{1})
	is.Equal(d.OriginalID, int64(1))
	is.Equal(d.Reason, queue.ReasonRejected)
	is.Equal(d.Error, "no ship")
	is.Equal(d.TimerID, "ship")
	is.Equal(d.Deliveries, int64(3))
	is.Equal(d.Headers["tenant"], "a")
	is.True(!d.FailedAt.IsZero())
	all := typedtest.DeadLetters(t, tx, shipped)
	is.Equal(len(all), 2)
	is.True(all[1].Err != nil)
	is.Equal(string(all[1].Payload), "?")
	is.Equal(len(typedtest.DeadLetters(t, db.Pool, shipped)), 0) // nobody else sees them
}

func TestRequireDead_FailsAndSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	box := queuetest.New(t)
	box.Deliver(placed.Handle(func(_ context.Context, o order) error { return queue.Permanent(errors.New("no such customer")) }))
	for range 2 {
		if _, err := placed.Publish(t.Context(), queue.Autocommit(box), order{7}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		call func(t testing.TB)
		says []string
	}{
		{"none matches", func(t testing.TB) { typedtest.RequireDead(t, box, placed, withID(9)) },
			[]string{"0 dead letters", `"placed"`, "{ID:7}", "retry_terminal", "no such customer"}},
		{"two match", func(t testing.TB) { typedtest.RequireDead(t, box, placed, nil) }, []string{"2 dead letters"}},
		{"none should be", func(t testing.TB) { typedtest.RequireNoneDead(t, box, placed) }, []string{"2 dead letters", "{ID:7}"}},
		{"another type", func(t testing.TB) { typedtest.RequireDead(t, box, typed.NewQueue[string]("placed"), nil) }, []string{"2 dead letters", "string"}},
		{"a bad queue", func(t testing.TB) { typedtest.DeadLetters(t, box, typed.NewQueue[int]("")) }, []string{"empty"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := failure(t, tt.call)
			for _, want := range tt.says {
				if !strings.Contains(said, want) {
					t.Errorf("it says %q, and nothing of %q", said, want)
				}
			}
		})
	}
}

// failure is what a test says that ends.
func failure(t *testing.T, call func(testing.TB)) string {
	f := &failing{TB: t}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		call(f)
	}()
	return f.said
}
