// Package timers schedules messages under an id of the caller's: of each queue
// and id there is one live timer. It works on bytes; a typed queue has the same
// calls as methods, with values.
//
//	res, err := timers.Schedule(ctx, tx, "order-1", time.Now().Add(time.Hour), draft)
//	res, err = timers.Reschedule(ctx, tx, "digest-7", time.Now().Add(5*time.Minute), draft)
//	res, err = timers.Of(reminders).Cancel(ctx, tx, "order-1")
//
// A timer is a row of the outbox like any other message: workers deliver it when
// it is due, it is retried when its handler fails, and it ends as messages do. A
// message that only is to come later needs no timer: see [queue.Delay].
//
// # One live timer
//
// A timer lives from when it is stored until its message has ended, retries
// included. While it does, [Schedule] leaves it as it is, and says what is there.
// [Reschedule] moves it and replaces its message: called again and again it
// debounces, and with [Keep] of the [Earliest] it throttles. [Timers.Cancel]
// removes it. The three differ in what they do about a timer whose handler is
// running: Schedule and Cancel do nothing; Reschedule stores the new timer
// beside it, unless told otherwise with [WhenRunning].
//
// # Transactions
//
// Every call is part of the caller's transaction: what a [Result] says is true if
// and only if that commits. A timer that is moved or cancelled stays locked until
// then, and is not delivered meanwhile: a run that begins later sees what the
// transaction wrote. That is not so for one that Schedule found there, which may
// be running: where a run must follow the transaction, use Reschedule. A timer
// that became due while it was locked runs within about a second of a rollback.
//
// No call waits for a handler. A row that another transaction has locked is tried
// for some 30 ms, which outlasts a claim, and then reported as [Running]. There
// is one wait, which is PostgreSQL's: when two transactions store the same new
// timer, the second waits for the end of the first, for there may be only one.
//
// # Time
//
// Due times are compared with the database's clock alone; a worker's or a
// caller's clock decides nothing. The forms with After also begin from it: from
// the start of the transaction, as now() in SQL does. Instants have microseconds;
// what is finer is cut off. A time in the past is now. The zero time, and one
// beyond the years 1 to 9999, are [ErrInvalidTime]: the first is a field that was
// not set, the second most likely a count of milliseconds taken for seconds, and
// neither JSON nor other drivers can write it down. A message for never is better
// not stored.
//
// # Recurring work
//
// [Recur] is a timer that stores its own successor in the transaction that ends
// it, with a message for each tick of a [Recurrence], which is [Every] so often or
// as [Cron] has it. A fleet of workers runs each tick once; ticks that were missed
// are coalesced, or made up for with [CatchUp].
//
// # Errors
//
// They name the timer and its queue, wrap the sentinels of this package and of
// package queue, and hold no payload. What is wrong with the arguments is found
// before anything is sent, and leaves the transaction as it was; an error of the
// database ends it, as any failed statement does.
package timers
