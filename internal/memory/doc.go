// Package memory keeps the contract of package store in maps, for unit tests
// that want a queue and no database.
//
// It passes the suite in storetest, so a worker cannot tell it from the
// table: rows are claimed, leased, extended, retried and buried by the same
// rules. One mutex guards everything, and every call is a commit of its own.
//
// # Transactions
//
// [Store.Begin] starts a transaction over a store and those beside it. Its views
// have what publishers do ([store.Outbox], [store.Letters]): it is read committed,
// what it has changed is locked until it ends, and others pass over it or wait for
// it where PostgreSQL's statements do.
//
// # Time
//
// The store has a clock of its own. By default it starts now and flows as
// real time does, and [Store.Advance] moves it on from wherever it is. With
// [Frozen] nothing but Advance moves it. Instants are in UTC, in whole
// microseconds, as PostgreSQL keeps them.
//
// # Waking
//
// [Store.Listen] stands in for LISTEN: it tells of queues in which something
// was published, and of those where an Advance made rows due.
package memory
