// Package queuetest is for tests of code that publishes, and of code that handles
// what was published. Package typedtest does the same for typed queues.
//
// # On PostgreSQL
//
// A test begins a transaction on a real PostgreSQL, calls the code under test with
// it, asks here what was published, and rolls back: nothing is left behind, no
// worker ever sees it, and tests run beside each other in one database. A pool can
// be asked too, for what was committed.
//
//	tx, err := pool.Begin(ctx)
//	...
//	err = PlaceOrder(ctx, tx, order)
//	all := queuetest.Messages(t, tx, placed)
//
// # In memory
//
// A [Box] is an outbox in memory, for code that does nothing with its transaction
// but publish: no database is needed. Code that takes a [pgx.Tx], a [queue.Tx], or
// what begins one, runs on it unchanged.
//
//	box := queuetest.New(t)
//	box.Deliver(placed.Handle(onPlaced))
//	err := pgx.BeginFunc(ctx, box, func(tx pgx.Tx) error { return Announce(ctx, tx, order) })
//	box.Advance(time.Hour) // retries and timers have come by now
//
// Messages are delivered at once, when the transaction commits ([Box.Deliver]), and
// what comes later when the test moves the clock ([Box.Advance]). Or a worker with
// all its loops works on the box in a bubble of testing/synctest
// ([Box.NewWorker]), where time passes as fast as the test can sleep.
//
// Publishing, timers and dead letters follow the same rules as on PostgreSQL: the
// box passes the same suites of tests. What it cannot do is SQL. A statement on it
// is [ErrNoDatabase], and fails the test.
package queuetest
