//go:build unix && !aix && !solaris

package pgserver

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lockless is the age from which a folder without a lock file is stale. One gets its lock within microseconds.
const lockless = 10 * time.Minute

// sweep removes folders of ours below base that nobody lives in any more, as they are left when a whole machine or
// container goes down. It never fails: what can't be removed now may be next time, and hinders nobody.
func sweep(base string, who account) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), folderPrefix) {
			continue
		}
		info, err := e.Info()
		if err != nil || !who.owns(info) && !ourselves().owns(info) {
			continue // just gone, or another user's
		}
		sweepFolder(filepath.Join(base, e.Name()), info)
	}
}

func sweepFolder(path string, info fs.FileInfo) {
	// Neither a link nor a pipe that somebody put there may lead us astray.
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if time.Since(info.ModTime()) > lockless {
			_ = os.RemoveAll(path)
		}
		return
	}
	if err != nil {
		return
	}
	defer lock.Close()
	// Held by an owner, a supervisor, a server, or another sweep.
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return
	}
	_ = os.RemoveAll(path)
}
