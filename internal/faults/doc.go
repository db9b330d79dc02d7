// Command faults shows that nothing is lost. It runs worker processes on a PostgreSQL of its own under load, injects
// faults, and then audits what became of every message.
//
//	go run ./internal/faults -for 15m -seed 42
//
// Publishers write each message, and beside it, in the same transaction, a row that says so. Handlers write each run to a
// journal, a file that survives the process. A trigger on the outbox table writes down who claims, settles, or takes over
// a row. Meanwhile processes are killed, paused and replaced, connections are cut, delayed and ended, PostgreSQL is stopped
// as in a crash, tables vanish, clocks are wrong; see kinds for the list, and steps for what handlers do. All of it
// follows from the seed, which is printed.
//
// Then everything is mended, the queues run empty, and the audit reads the tables; see rules for what it asks. A finding
// is an exit code of 1.
//
// The audit is tested too: with -sabotage the workers are built of a copy of the library whose statements do not look at
// the lease token, and then it must find something.
package main
