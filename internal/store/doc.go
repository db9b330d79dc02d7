// Package store is the contract between the lease engine and the tables it
// works on: plain data types, and one small interface for each role a table
// plays. It holds no behaviour.
//
// Two packages keep the contract: internal/postgres, on the outbox table, and
// internal/memory, in maps, for unit tests. The suite in storetest says in
// scenarios what the prose here says in words, and both pass it.
//
// # Time
//
// Instants are the store's own clock: a worker hands back the instants it was
// given and never compares them with its own. What a worker measures is
// durations, and the store turns those into instants.
//
// # Leases
//
// A claimed row carries a token. Every write that ends, moves or extends a
// claimed row names the token and changes nothing when the row no longer holds
// it, so a worker that comes late is harmless.
package store
