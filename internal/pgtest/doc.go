// Package pgtest gives each test a PostgreSQL database of its own.
//
//	func TestOrders(t *testing.T) {
//		t.Parallel()
//		db := pgtest.New(t, pgtest.Schema(ddl))
//		_, err := db.Pool.Exec(t.Context(), "INSERT INTO ...")
//
// The first [New] of a test binary starts a server as [pgserver.Start] finds it; all tests of the binary share it, and it
// ends with the binary, however that ends, so no TestMain is needed. A test fails where there is no server.
package pgtest
