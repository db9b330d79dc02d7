// Package lease is the engine: it claims messages, keeps their leases alive
// while they are worked on, runs the work, and settles the outcomes. It knows
// no handler, no retry policy and no SQL: work goes into one callback,
// [Process], and outcomes come back.
//
// # Stages
//
// An [Engine] serves the queues of one table with a few goroutines:
//
//	pump     settles outcomes and claims what is next, both in one round trip;
//	         a lane for each queue says what it wants
//	slots    one goroutine for each unit of a queue's concurrency; runs Process
//	keeper   extends the leases of everything in hand, in one statement
//	burier   writes dead letters, apart from all else
//
// Messages go from the pump to the slots through a buffered channel for each
// queue. Outcomes come back through the ledger, which wakes the pump when a
// write is worth a round trip.
//
// # Stopping
//
// When its context ends the engine claims nothing more, hands unstarted rows
// back in one statement, gives running handlers the grace period, cancels
// them, and returns. What did not return by then keeps its lease, which ends
// by itself.
package lease
