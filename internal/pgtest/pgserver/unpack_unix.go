//go:build unix && !aix && !solaris

package pgserver

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// symlinksFile lists the package's links, which npm's tarballs can't hold. Libraries are found by them.
const symlinksFile = "package/native/pg-symlinks.json"

// unpack makes the folder dir of an npm package's tarball, with the links of symlinksFile. Nothing is written outside:
// names that would lead there, and anything but folders and plain files, are errors. All may read what it makes, whatever
// the umask, because the server can run as another user.
func unpack(tarball, dir string) (err error) {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()

	for r := tar.NewReader(zip); ; {
		entry, err := r.Next()
		if err == io.EOF {
			return link(root)
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, entry, r); err != nil {
			return fmt.Errorf("entry %q: %w", entry.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, entry *tar.Header, content io.Reader) (err error) {
	if !filepath.IsLocal(entry.Name) {
		return errors.New("it leads outside")
	}
	name := path.Clean(entry.Name)
	if entry.Typeflag == tar.TypeDir {
		return mkdir(root, name)
	}
	if entry.Typeflag != tar.TypeReg {
		return fmt.Errorf("its type is %q, not a folder or a plain file", entry.Typeflag)
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if entry.FileInfo().Mode()&0o111 != 0 {
		mode = 0o755
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, content); err != nil {
		return err
	}
	return out.Chmod(mode)
}

// mkdir makes the folder name and those above it.
func mkdir(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return err
	}
	err := root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

// link makes the package's links.
func link(root *os.Root) error {
	text, err := root.ReadFile(symlinksFile)
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("reading %s: %w", symlinksFile, err)
	}
	for _, l := range links {
		// A root follows no link that leads outside, but it does make one.
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("the link from %q to %q leads outside", l.Target, l.Source)
		}
		source, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(source, path.Join("package", l.Target)); err != nil {
			return err
		}
	}
	return nil
}
