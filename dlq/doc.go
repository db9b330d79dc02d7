// Package dlq looks at dead letters, gives them back and removes them.
//
// A message that failed for good is a row of the dead-letter table: its payload
// and headers as they were, with the reason (see [queue.ReasonRetryTerminal] and
// its neighbours) and the text of the last error. [In] names the letters of an
// outbox, [Of] those of one queue:
//
//	letters := dlq.In(queue.Outbox{})
//
//	counts, err := letters.Count(ctx, pool, dlq.Filter{})
//	page, err := letters.List(ctx, pool, dlq.Filter{Queue: "orders", Reason: queue.ReasonDecodeError}, dlq.Page{})
//
//	done, err := letters.ReplayAll(ctx, pool, dlq.Filter{Queue: "orders"}, dlq.Rate(100))
//	n, err := letters.Purge(ctx, pool, dlq.Filter{OlderThan: 30 * 24 * time.Hour})
//
// [Letters.Get] reads one, [Letters.Replay] moves a handful in a transaction of
// the caller's, and [Letters.Retain] has a worker remove what is old. This
// package works on bytes; the DeadLetters of a typed queue decode, and repair
// values.
//
// # Replay
//
// A letter goes back as a message: payload, headers (the correlation id among
// them), timer id and created_at are kept; id, attempts, deliveries and the
// times of attempts are new, and it is due at once. Each batch is one
// statement, which writes the messages, removes the letters and wakes the
// workers, so a letter is either a letter or a message, whatever happens.
//
// What cannot go back is reported, and never holds up the rest: a letter that is
// gone ([ErrNotFound]), one that another transaction has in hand ([ErrBusy]),
// one whose timer id is live again ([ErrTimerLive]), one that a [Fix] refuses.
//
// # Many at once
//
// Replays and purges by filter work in batches, oldest first, and look only at
// letters that were there when they began, so they end, even while messages go
// on failing. They pass over letters that another replay or purge has in hand:
// any number can run at once, and no letter is moved twice. On a pool or a
// connection each batch commits by itself, so after an error or the end of the
// context what was done stays done, and the result says how much that is. On a
// transaction of pgx everything is part of that.
package dlq
