// Package access works on the tables of an outbox with whatever a caller has: a
// transaction of any driver, a pool, a connection, or an outbox in memory. The
// packages queue, timers and dlq say to the world what may be done; this is how they
// all reach the tables.
package access
