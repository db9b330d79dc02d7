// Package queue publishes messages in a transaction and delivers them to
// handlers: a transactional outbox in PostgreSQL, in which the table is the
// queue. It speaks bytes; package typed puts types on it and is what most
// programs use.
//
// # Publishing
//
//	id, err := orders.Publish(ctx, tx, payload)
//
// A message exists if and only if the transaction commits that it was published
// in. A [Tx] is a pgx.Tx as it is, or a *sql.Tx behind [SQL]; a pool does not
// compile, and [Autocommit] says it out loud where that is meant. [Publish]
// writes messages of many queues in one round trip.
//
// # Handling
//
//	w, err := queue.NewWorker(pool, orders.Handle(onOrder), queue.Grace(10*time.Second))
//	err = w.Run(ctx) // until ctx ends; then drains
//
// Handlers come in four forms:
//
//	Queue.Handle         one message; at least once
//	Queue.HandleTx       one message and a transaction; exactly once in effect
//	Queue.HandleBatch    several messages; at least once
//	Queue.HandleBatchTx  several messages and a transaction; exactly once in
//	                       effect, and the fastest
//
// What a handler returns decides: nil acknowledges, an error asks the retry
// policy (see package retry), and [Permanent], [RetryAfter], [Snooze] and
// [Discard] say more. What has failed for good becomes a dead letter.
//
// # The tables
//
//	err := queue.Outbox{}.Create(ctx, pool)
//
// creates what is missing; [Outbox.Migrations] gives files to a migration tool
// instead, and [Outbox.Validate] compares the tables with what is needed, whoever
// made them. [Outbox.Ping] and [Worker.Health] are for health checks.
//
// # What holds
//
// A worker claims a message by a lease that it extends while the handler runs. A
// worker that dies loses its leases, and others take the messages over. Every
// write that ends a message is guarded by its lease, so a worker that comes late
// changes nothing. Time that decides is the database's clock. Messages are handed
// out oldest first, but handled concurrently and retried later: there is no
// order to rely on.
//
// Notifications only save time: without them the worker polls.
//
// # Looking
//
// [Outbox.Stats] counts what each queue holds, [Outbox.Upkeep] says how VACUUM fares
// and who holds it back, and [Queue.Peek] shows messages. They take, lock and write
// nothing, and cost the same on a table of any size.
//
// # Watching
//
// A [Middleware] sees one call of a handler, an [Observer] what no handler sees,
// and a [PublishHook] what is published. The modules contrib/prometheus and
// contrib/otel are made of them.
package queue
