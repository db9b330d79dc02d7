package timers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
)

// Callers reschedule a few timers as fast as they can, some rolling back, while
// workers run them, some failing. Whatever the interleaving: the last message that
// a committed call says it stored is handled, and each at most once.
func TestReschedule_NeverLosesARearm(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := db.Pool.Exec(t.Context(), `
		CREATE SEQUENCE turn;
		CREATE TABLE stored (timer text, message text, turn bigint);
		CREATE TABLE handled (message text UNIQUE)`)
	is.NoErr(err)
	const callers, calls = 4, 150

	handle := func(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
		// What the call wrote beside the message is there.
		tag, err := tx.Exec(ctx, `INSERT INTO handled SELECT message FROM stored WHERE message = $1`, string(d.Payload))
		if err != nil {
			return err
		}
		if tag.RowsAffected() != 1 {
			t.Errorf("message %s ran before its transaction was over", d.Payload)
		}
		if rand.IntN(5) == 0 {
			return errors.New("it failed")
		}
		return nil
	}
	for range 2 {
		start(t, db.Connect(t), queue.PollInterval(100*time.Millisecond), queue.Lease(2*time.Second),
			queue.Retry(retry.Constant{Delay: time.Millisecond}), reminders.HandleTx(handle))
	}

	pool := db.Connect(t, func(c *pgxpool.Config) { c.MaxConns = callers })
	var mu sync.Mutex
	outcomes := map[timers.Outcome]int{}
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() {
			for i := range calls {
				timer, message := fmt.Sprint("t", rand.IntN(3)), fmt.Sprint(c, "-", i)
				after := time.Duration(rand.IntN(3)) * time.Millisecond
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					res, err := timers.RescheduleAfter(t.Context(), tx, timer, after, text(message), timers.Keep(timers.Which(rand.IntN(3))))
					if err != nil {
						return err
					}
					mu.Lock()
					outcomes[res.Outcome]++
					mu.Unlock()
					if !res.Stored() {
						return nil
					}
					// The timer is ours until the commit, so turns are in the order of writes.
					_, err = tx.Exec(t.Context(), `INSERT INTO stored VALUES ($1, $2, nextval('turn'))`, timer, message)
					if err == nil && rand.IntN(10) == 0 {
						err = errRolledBack
					}
					return err
				})
				if err != nil && !errors.Is(err, errRolledBack) {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
	var lost int
	is.NoErr(db.Pool.QueryRow(t.Context(), `SELECT count(*)::int FROM (SELECT DISTINCT ON (timer) * FROM stored ORDER BY timer, turn DESC) AS last
		WHERE message NOT IN (SELECT message FROM handled)`).Scan(&lost))
	t.Log("outcomes:", outcomes)
	is.Equal(lost, 0)
	is.Equal(rowsOf(t, db.Pool, "outbox_dlq"), 0)
	is.True(outcomes[timers.Rearmed] > 0) // or nothing was tried
}

var errRolledBack = errors.New("rolled back")

// rowsOf counts what is in a table.
func rowsOf(t testing.TB, pool *pgxpool.Pool, table string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
