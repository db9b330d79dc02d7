//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// installation is a folder with server binaries that run here.
type installation struct {
	bin     string
	version version
	source  string // how it was found
}

// finder looks for server binaries that an account can run.
type finder struct {
	machine
	who   account
	tried []string // a note for each place without any
}

// find looks in the order of the package's doc. cache is where a download is kept.
func (f *finder) find(ctx context.Context, set settings, cache *cache) (installation, error) {
	for _, named := range []struct{ by, dir string }{
		{"the Bin option", set.bin},
		{"LETTERBOX_PG_BIN", f.getenv("LETTERBOX_PG_BIN")},
	} {
		if named.dir == "" {
			continue
		}
		in, err := f.inspect(ctx, named.dir)
		if err != nil {
			return installation{}, fmt.Errorf("server binaries named by %s: %w", named.by, err)
		}
		in.source = named.by
		return in, nil
	}
	f.note("DATABASE_URL", "not set")
	f.note("LETTERBOX_PG_BIN", "not set")
	for _, look := range []func(context.Context) (installation, bool){f.onPath, f.byConfig, f.inFolders} {
		if in, ok := look(ctx); ok {
			return in, nil
		}
	}
	in, err := f.download(ctx, cache)
	if err == nil {
		return in, nil
	}
	if ctx.Err() != nil { // then nothing was truly tried
		return installation{}, fmt.Errorf("looking for a server: %w", context.Cause(ctx))
	}
	f.note("download", err.Error())
	return installation{}, &notFoundError{f.tried}
}

func (f *finder) note(place, found string) { f.tried = append(f.tried, place+": "+found) }

// onPath takes the postgres on PATH. It may be a link from a folder of links that has no initdb.
func (f *finder) onPath(ctx context.Context) (installation, bool) {
	const source = "postgres on PATH"
	path, err := f.lookPath("postgres")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		f.note(source, err.Error())
		return installation{}, false
	}
	return f.accept(ctx, filepath.Dir(path), source)
}

// byConfig takes the folder that pg_config names, which development packages put on PATH where the server is not.
func (f *finder) byConfig(ctx context.Context) (installation, bool) {
	const source = "pg_config --bindir"
	path, err := f.lookPath("pg_config")
	if err != nil {
		f.note(source, err.Error())
		return installation{}, false
	}
	dir, err := exec.CommandContext(ctx, path, "--bindir").Output()
	if err != nil {
		f.note(source, err.Error())
		return installation{}, false
	}
	return f.accept(ctx, strings.TrimSpace(string(dir)), source)
}

// inFolders takes the highest version in the folders that packages use.
func (f *finder) inFolders(ctx context.Context) (installation, bool) {
	var dirs []string
	for _, pattern := range f.patterns {
		matches, _ := filepath.Glob(pattern) // the patterns are well formed
		if len(matches) == 0 {
			f.note(pattern, "none")
		}
		for _, dir := range matches {
			// A link such as Postgres.app's "latest" shows its version only once it is resolved.
			if real, err := filepath.EvalSymlinks(dir); err == nil {
				dirs = append(dirs, real)
			}
		}
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return versionInPath(b).compare(versionInPath(a)) })
	for _, dir := range slices.Compact(dirs) {
		if in, ok := f.accept(ctx, dir, "found there"); ok {
			return in, true
		}
	}
	return installation{}, false
}

// accept takes the server in dir, or notes why not.
func (f *finder) accept(ctx context.Context, dir, source string) (installation, bool) {
	in, err := f.inspect(ctx, dir)
	if err == nil && in.version.major < oldest {
		err = fmt.Errorf("version %s is older than %d", in.version, oldest)
	}
	if err != nil {
		f.note(fmt.Sprintf("%s (%s)", dir, source), err.Error())
		return installation{}, false
	}
	in.source = source
	return in, true
}

// inspect checks that dir holds a server that runs here, and asks it for its version.
func (f *finder) inspect(ctx context.Context, dir string) (installation, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return installation{}, err
	}
	for _, name := range []string{"postgres", "initdb"} {
		if !executable(filepath.Join(dir, name)) {
			return installation{}, fmt.Errorf("no %s in %s", name, dir)
		}
	}
	if err := f.who.reaches(dir); err != nil {
		return installation{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	out, err := cmd.Output()
	if err != nil {
		return installation{}, fmt.Errorf("running %s: %w", cmd, err)
	}
	v, ok := parseVersion(string(out))
	if !ok {
		return installation{}, fmt.Errorf("%s says %q, which has no version", cmd, out)
	}
	return installation{bin: dir, version: v}, nil
}

// lookPath is exec.LookPath on the machine's own PATH.
func (f *finder) lookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(f.getenv("PATH")) {
		if path := filepath.Join(dir, name); filepath.IsAbs(path) && executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s on PATH", name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// notFoundError names all that was tried.
type notFoundError struct{ tried []string }

func (e *notFoundError) Error() string {
	return "no PostgreSQL server found; tried\n\t" + strings.Join(e.tried, "\n\t") + "\n" +
		"install one (apt install postgresql, dnf install postgresql-server, apk add postgresql, brew install postgresql@18), " +
		"or set DATABASE_URL to a server whose user may create databases, or LETTERBOX_PG_BIN to a folder of server binaries"
}
