// Package pgtest gives each test a PostgreSQL database of its own.
//
//	func TestOrders(t *testing.T) {
//		t.Parallel()
//		db := pgtest.New(t, pgtest.Schema(ddl))
//		_, err := db.Pool.Exec(t.Context(), "INSERT INTO ...")
//
// The first [New] of a test binary starts a server as [pgserver.Start] finds it, and all tests of the binary share it. It
// ends a moment after the binary does, however that ends, so no TestMain is needed. A test fails where there is no server.
//
// Tests run on any server from PostgreSQL 14 on: LETTERBOX_PG_BIN names the binaries of one version, DATABASE_URL a server.
package pgtest
