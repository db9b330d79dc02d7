// Package architecture holds the test that keeps imports pointing one way, from the face of the library down to its
// contracts, and its dependencies few. It has no code.
package architecture
