// Package postgres holds every SQL statement of the project. [Table] knows the
// names and builds the statements, [Store] keeps the lease contract of package
// store on them, and the publishing half writes inside a caller's transaction
// with nothing but QueryRow, so that pgx and database/sql serve alike.
//
// Identifiers are quoted and values are parameters, always.
package postgres
