// Package readme holds the code that README.md shows, so that it compiles and is run. A test keeps the two alike: a Go
// block of the README names the file and the declarations here that it repeats. See internal/docs.
package readme
