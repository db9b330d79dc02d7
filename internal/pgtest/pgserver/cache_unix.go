//go:build unix && !aix && !solaris

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// unused is the age from which a data directory that no start has copied leaves the cache: its server was upgraded or
// removed.
const unused = 30 * 24 * time.Hour

// cache keeps what is slow to make and the same for every start: data directories as initdb makes them, and a downloaded
// server. All in it is whole: it is made in a folder below work and then renamed.
type cache struct {
	dir  string
	work string
	who  account
	err  error // why there is none: starts are slower then, and nothing can be downloaded
}

// openCache makes the cache's folder and sweeps it. That it can't be used is an error only where LETTERBOX_PG_CACHE asks
// for it.
func openCache(m machine, who account) (*cache, error) {
	c := &cache{who: who}
	named := m.getenv("LETTERBOX_PG_CACHE")
	c.dir, c.err = cacheDir(named, who)
	if c.err == nil {
		c.err = c.open()
	}
	if c.err != nil && named != "" {
		return nil, fmt.Errorf("opening the cache named by LETTERBOX_PG_CACHE: %w", c.err)
	}
	return c, nil
}

func cacheDir(named string, who account) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	if who.other {
		return "/var/cache/letterbox-pg", nil // root's own is closed to the account
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "letterbox-pg"), err
}

func (c *cache) open() error {
	c.work = filepath.Join(c.dir, "work")
	if err := os.MkdirAll(c.work, 0o755); err != nil {
		return err
	}
	for _, path := range []string{c.dir, c.work} {
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		// Server binaries run from here, so nobody else may have put them in.
		if !info.IsDir() || info.Mode()&0o022 != 0 || !ourselves().owns(info) && !c.who.owns(info) {
			return fmt.Errorf("%s is not a folder of ours that only we can write to", path)
		}
		if c.who.other {
			if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
				return err
			}
		}
	}
	if err := c.who.own(c.work); err != nil { // its supervisors remove folders there
		return err
	}
	if err := c.who.reaches(c.work); err != nil {
		return err
	}
	sweep(c.work, c.who)
	c.prune()
	return nil
}

// publish gives a finished path in a work folder its name in the cache. Of several at the same time one wins, and the
// others' stay where they are and go with their folders.
func (c *cache) publish(path, name string) error {
	err := os.Rename(path, filepath.Join(c.dir, name))
	if err == nil || c.has(name) {
		return nil
	}
	return err
}

func (c *cache) has(name string) bool {
	_, err := os.Stat(filepath.Join(c.dir, name))
	return err == nil
}

// prune removes data directories that have not been used for long. It never fails, as sweep does not.
func (c *cache) prune() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), dataPrefix) && time.Since(info.ModTime()) > unused {
			_ = c.remove(e.Name())
		}
	}
}

// remove takes name out of the cache in one step, so that nobody finds half of it.
func (c *cache) remove(name string) error {
	f, err := newFolder(c.work, c.who, nil)
	if err != nil {
		return err
	}
	return errors.Join(os.Rename(filepath.Join(c.dir, name), filepath.Join(f.path, dataName)), f.end())
}
