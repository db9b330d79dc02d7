//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// dataName is a data directory's name in its folder.
	dataName = "data"
	// dataPrefix comes before a data directory's key in the cache.
	dataPrefix = "data-"
)

// initdbFlags are the same for all servers. Syncing takes seconds where several first starts share a disk; should a crash
// of the machine spoil what is in the cache, the first server that fails on it takes it out (see launch). Small WAL
// segments are 15 MB less to copy.
var initdbFlags = []string{
	"--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1",
}

// provide puts a new data directory for the server in into the folder f: a copy of the cache's, which the first start on
// a machine makes. Without a cache it is made where it is needed.
func (c *cache) provide(ctx context.Context, in installation, f *folder) error {
	target := filepath.Join(f.path, dataName)
	if c.err != nil {
		return initdb(ctx, filepath.Dir(f.path), f.who, in, func(data string) error { return os.Rename(data, target) })
	}
	key, err := dataKey(in, f.who)
	if err != nil {
		return err
	}
	for retried := false; ; retried = true {
		if !c.has(key) {
			err := initdb(ctx, c.work, f.who, in, func(data string) error { return c.publish(data, key) })
			if err != nil {
				return err
			}
		}
		err := copyTree(ctx, filepath.Join(c.dir, key), target, f.who)
		if err == nil {
			now := time.Now()
			return os.Chtimes(filepath.Join(c.dir, key), now, now) // for prune
		}
		if retried || !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copying a data directory from %s: %w", c.dir, err)
		}
		// Another process took it out of the cache meanwhile, as prune and forget do.
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
}

// forget takes the data directory for the server in out of the cache, for the next start to make it anew.
func (c *cache) forget(in installation) error {
	key, err := dataKey(in, c.who)
	if err != nil || c.err != nil || !c.has(key) {
		return err
	}
	return c.remove(key)
}

// dataKey names what initdb makes: it depends on the server's very build, and on who may read it.
func dataKey(in installation, who account) (string, error) {
	info, err := os.Stat(filepath.Join(in.bin, "postgres"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %q", in.bin, info.Size(), info.ModTime().UnixNano(), initdbFlags))
	return fmt.Sprintf("%s%s-%d-%s", dataPrefix, in.version, who.uid, hex.EncodeToString(sum[:6])), nil
}

// initdb makes a data directory in a folder of its own below base and hands it to take, which moves it out of there.
func initdb(ctx context.Context, base string, who account, in installation, take func(data string) error) error {
	return makeData(ctx, base, who, in, "initdb", initdbFlags, take)
}

// makeData does so with the program called tool, which takes --pgdata.
func makeData(ctx context.Context, base string, who account, in installation, tool string, flags []string, take func(data string) error) (err error) {
	f, err := newFolder(base, who, func(dir string) []string {
		return append([]string{filepath.Join(in.bin, tool), "--pgdata=" + filepath.Join(dir, dataName)}, flags...)
	})
	if err != nil {
		return fmt.Errorf("making a folder for %s: %w", tool, err)
	}
	defer func() { err = errors.Join(err, f.end()) }()
	if err := f.begin(); err != nil {
		return err
	}
	if err := f.await(ctx, tool+" in "+in.bin, nil); err != nil {
		return err
	}
	return take(filepath.Join(f.path, dataName))
}

// copyTree copies folders and plain files, which is all that a data directory has.
func copyTree(ctx context.Context, from, to string, who account) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			err = os.Mkdir(target, 0o700)
		case d.Type().IsRegular():
			err = copyFile(path, target)
		default:
			err = fmt.Errorf("%s is neither a folder nor a plain file", path)
		}
		if err != nil {
			return err
		}
		return who.own(target)
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
