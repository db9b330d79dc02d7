// Package docs holds the tests that keep README.md and the pages of docs true: their Go is code that compiles, their SQL
// runs, their commands and links lead somewhere, their YAML and JSON can be read. It has no code.
//
// A comment before a block, on a line of its own and unseen on the page, says what the tests need to know:
//
//	<!-- examples/guides/orders.go: Order, Ship -->   a Go block repeats these declarations of that file
//	<!-- not run: needs a second server -->           a SQL block that the tests leave alone, and why
//	<!-- in no transaction -->                        a SQL block with a statement that PostgreSQL runs only outside one
package docs
