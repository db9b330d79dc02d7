package queue_test

import (
	"context"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

func ExampleOutbox_Stats() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()
	for range 12 {
		if _, err := orders.Publish(ctx, queue.Autocommit(pool), []byte("order")); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := orders.Publish(ctx, queue.Autocommit(pool), []byte("order"), queue.Delay(time.Hour)); err != nil {
		fmt.Println(err)
	}

	stats, err := queue.Outbox{}.Stats(ctx, pool, queue.StatsOptions{Cap: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, q := range stats.Queues {
		fmt.Printf("%s: %v due, %v scheduled, %v dead\n", q.Queue, q.Due, q.Scheduled, q.Dead)
		fmt.Println("the oldest has waited less than a minute:", q.OldestDue < time.Minute)
	}
	// Output:
	// orders: 10+ due, 1 scheduled, 0 dead
	// the oldest has waited less than a minute: true
}

// Rates come from two snapshots.
func ExampleStats_Since() {
	at := time.Now()
	before := queue.Stats{At: at, Totals: queue.Totals{Published: 1000, Removed: 900},
		Queues: []queue.QueueStats{{Queue: "orders", Due: queue.Count{N: 100}}}}
	after := queue.Stats{At: at.Add(10 * time.Second), Totals: queue.Totals{Published: 1500, Removed: 1350},
		Queues: []queue.QueueStats{{Queue: "orders", Due: queue.Count{N: 150}}}}

	rates := after.Since(before)
	fmt.Printf("published %v/s, removed %v/s\n", rates.Published, rates.Removed)
	fmt.Printf("%s grows by %v/s\n", rates.Queues[0].Queue, rates.Queues[0].Growth)
	// Output:
	// published 50/s, removed 45/s
	// orders grows by 5/s
}

// Looking at messages, a page at a time, while workers work.
func ExampleQueue_Peek() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()
	for i := range 3 {
		if _, err := orders.Publish(ctx, queue.Autocommit(pool), fmt.Appendf(nil, "order %d", i+1)); err != nil {
			fmt.Println(err)
		}
	}

	page := queue.Page{Size: 2}
	for {
		list, next, err := orders.Peek(ctx, pool, queue.StateWaiting, page)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, m := range list {
			fmt.Printf("%s: %v, attempts %d\n", m.Payload, m.State, m.Attempts)
		}
		if page.After = next; next == "" {
			break
		}
	}
	// Output:
	// order 1: due, attempts 0
	// order 2: due, attempts 0
	// order 3: due, attempts 0
}

func ExampleOutbox_Upkeep() {
	ctx := context.Background()
	pool, done := openOutbox(ctx)
	defer done()

	u, err := queue.Outbox{}.Upkeep(ctx, pool)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("autovacuum:", u.Outbox.Autovacuum, "dead rows:", u.Outbox.DeadRows)
	for _, h := range u.Holders {
		if h.Open > 10*time.Minute {
			fmt.Println("holds vacuum back:", h)
		}
	}
	// Output: autovacuum: true dead rows: 0
}
