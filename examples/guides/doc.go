// Package guides holds the code that the pages of docs show, so that it compiles and is run. A test keeps the two alike: a
// Go block names the file and the declarations here that it repeats. See internal/docs.
package guides
