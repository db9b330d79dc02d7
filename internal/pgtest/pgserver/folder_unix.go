//go:build unix && !aix && !solaris

package pgserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const (
	folderPrefix = "letterbox-pg-" // marks folders as ours, for sweep
	lockName     = "lock"
	logName      = "log"
	exitName     = "exit"
	scriptName   = "supervise.sh"
)

// folder is a private folder that goes when we do, with the process that runs in it. A supervisor (supervise.sh) holds
// the other end of a pipe from us. When that ends, closed by us or with us, the supervisor stops the process, waits for
// it and removes the folder.
//
// The folder's lock file is open, and locked, in us, in the supervisor and in the process, so while anybody of these
// lives nobody else can lock it. See sweep.
type folder struct {
	path string
	who  account
	lock *os.File
	pipe *os.File
	gone chan struct{} // closed once the supervisor has ended
	end  func() error
}

// newFolder makes a folder below base that belongs to who. command gives the process to run in it as who, at begin; it
// may be nil.
func newFolder(base string, who account, command func(dir string) []string) (*folder, error) {
	f := &folder{
		// Lower case without signs is safe everywhere, and 50 bits are enough against others at the same time.
		path: filepath.Join(base, folderPrefix+strings.ToLower(rand.Text()[:10])),
		who:  who,
		gone: make(chan struct{}),
	}
	f.end = sync.OnceValue(f.close)
	if err := os.Mkdir(f.path, 0o700); err != nil {
		return nil, err
	}
	var args []string
	if command != nil {
		args = command(f.path)
	}
	err := f.takeLock()
	if err == nil {
		err = f.supervise(args)
	}
	if err != nil {
		return nil, errors.Join(err, f.end())
	}
	return f, nil
}

// takeLock makes the lock file. It gets its name only once it is locked, so that a sweep never finds it free before.
func (f *folder) takeLock() error {
	name := filepath.Join(f.path, lockName)
	lock, err := os.OpenFile(name+".new", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.lock = lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	if err := f.who.own(lock.Name()); err != nil {
		return err
	}
	return os.Rename(lock.Name(), name)
}

// close ends the process and the folder, and returns when both are gone.
func (f *folder) close() error {
	var errs []error
	if f.pipe != nil {
		errs = append(errs, f.pipe.Close())
		<-f.gone
	}
	// The supervisor did this already, unless it never ran.
	errs = append(errs, os.RemoveAll(f.path))
	if f.lock != nil {
		errs = append(errs, f.lock.Close())
	}
	return errors.Join(errs...)
}
