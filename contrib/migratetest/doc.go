// Package migratetest tests that migration tools really run the files that
// [queue.Migration.Files] writes. It is a module of its own, so that nobody else
// gets the tools.
//
// [queue.Migration.Files]: https://pkg.go.dev/github.com/letterbox-go/letterbox/queue#Migration.Files
package migratetest
