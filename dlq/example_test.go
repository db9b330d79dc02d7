package dlq_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// openLetters gives an example a database with three dead letters in it.
func openLetters(ctx context.Context) (*pgxpool.Pool, func()) {
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		return nil, func() { fmt.Println(err) }
	}
	pool, done := pgtest.Open(ctx, sql)
	if pool == nil {
		return nil, done
	}
	const insert = `INSERT INTO outbox_dlq (original_id, queue, payload, deliveries_count, created_at, failed_at, failure_reason, last_exception)
		VALUES (7, 'orders', 'order 7', 10, now(), now() - interval '40 days', 'retry_terminal', 'connection refused'),
		       (8, 'orders', 'ordre 8', 1, now(), now() - interval '1 hour', 'rejected', 'no such order'),
		       (9, 'mails', 'mail 9', 1, now(), now(), 'rejected', 'no such address')`
	if _, err := pool.Exec(ctx, insert); err != nil {
		fmt.Println(err)
	}
	return pool, done
}

func Example() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.In(queue.Outbox{})

	// What is there?
	counts, err := letters.Count(ctx, pool, dlq.Filter{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range counts {
		fmt.Println(c.Queue, c.Reason, c.Letters)
	}

	// Whatever failed because the network was down may go back.
	replayed, err := letters.ReplayAll(ctx, pool, dlq.Filter{ErrorContains: "connection refused"}, dlq.Rate(100))
	fmt.Println(replayed.Moved, "moved,", replayed.Skipped, "skipped,", err)
	// Output:
	// mails rejected 1
	// orders rejected 1
	// orders retry_terminal 1
	// 1 moved, 0 skipped, <nil>
}

// Going through all letters of a queue, a page at a time.
func ExampleLetters_List() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.Of(queue.New("orders"))

	page := dlq.Page{Size: 1}
	for {
		list, err := letters.List(ctx, pool, dlq.Filter{}, page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, l := range list {
			fmt.Printf("message %d: %s: %s\n", l.OriginalID, l.Reason, l.Error)
		}
		if len(list) < page.Size {
			break
		}
		page.After = list[len(list)-1].Cursor()
	}
	// Output:
	// message 8: rejected: no such order
	// message 7: retry_terminal: connection refused
}

// In a transaction of one's own, together with other writes.
func ExampleLetters_Replay() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.In(queue.Outbox{})

	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// ... a note on who did it, on tx ...
		replayed, err := letters.Replay(ctx, tx, []int64{1, 77})
		for _, m := range replayed.Moves {
			fmt.Println("letter", m.Letter, "is message", m.Message)
		}
		for _, s := range replayed.Skips {
			fmt.Println(s.Err)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// letter 1 is message 1
	// dead letter 77: no such dead letter
	// <nil>
}

// Bytes that were wrong go back mended.
func ExampleFix() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.In(queue.Outbox{})

	replayed, err := letters.ReplayAll(ctx, pool, dlq.Filter{Queue: "orders"}, dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
		return dlq.Fixed{Payload: bytes.Replace(l.Payload, []byte("ordre"), []byte("order"), 1)}, nil
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	var payloads string
	const sql = `SELECT string_agg(convert_from(payload, 'UTF8'), ', ' ORDER BY id) FROM outbox`
	err = pool.QueryRow(ctx, sql).Scan(&payloads)
	fmt.Println(replayed.Moved, payloads, err)
	// Output: 2 order 7, order 8 <nil>
}

func ExampleLetters_Purge() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.In(queue.Outbox{})

	n, err := letters.Purge(ctx, pool, dlq.Filter{OlderThan: 30 * 24 * time.Hour})
	fmt.Println(n, err)
	_, err = letters.Purge(ctx, pool, dlq.Filter{})
	fmt.Println(err)
	n, err = letters.Purge(ctx, pool, dlq.Everything())
	fmt.Println(n, err)
	// Output:
	// 1 <nil>
	// purge dead letters of "outbox": the filter selects every dead letter
	// 2 <nil>
}

// A worker that removes letters after thirty days.
func ExampleLetters_Retain() {
	ctx := context.Background()
	pool, done := openLetters(ctx)
	defer done()
	letters := dlq.In(queue.Outbox{})

	_, err := queue.NewWorker(pool,
		queue.New("orders").Handle(func(context.Context, *queue.Delivery) error { return nil }),
		letters.Retain(30*24*time.Hour, dlq.Every(6*time.Hour)))
	fmt.Println(err) // now worker.Run(ctx)
	// Output: <nil>
}
