//go:build unix && !aix && !solaris

package pgserver

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"
)

// helperVariable makes the test binary a process that starts a server in the place it names, says so and waits.
const helperVariable = "LETTERBOX_PGSERVER_TEST_PLACE"

func TestMain(m *testing.M) {
	if place := os.Getenv(helperVariable); place != "" {
		os.Exit(help(place))
	}
	os.Exit(m.Run())
}

func help(place string) int {
	if signal.Ignored(os.Interrupt) { // as in a background job of a shell, and then by us too
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt)
		go func() {
			<-c
			os.Exit(1)
		}()
	}
	m := thisMachine()
	m.places = func(bool) []string { return []string{place} }
	ctx := context.Background()
	s, err := start(ctx, m, settings{})
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	if err := execSQL(ctx, s.DSN(), "SELECT 1"); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	fmt.Println("folder", folderOf(s))
	runtime.GC()                         // would end a server that only its *Server keeps, which is no longer used
	_, _ = io.Copy(io.Discard, os.Stdin) // until told to end, which is without Close
	return 0
}

// folderOf is the folder of a server of our own.
func folderOf(s *Server) string {
	c, err := pgx.ParseConfig(s.DSN())
	if err != nil {
		return err.Error()
	}
	return c.Host
}

// testPlace makes a folder for servers, as open as /tmp and with a name not much longer, and in it an empty cache.
func testPlace(t *testing.T) (place, cache string) {
	t.Helper()
	is := is.New(t)
	place, err := os.MkdirTemp("/tmp", "pg")
	is.NoErr(err)
	t.Cleanup(func() {
		// The supervisors of processes that were killed are still at it.
		eventually(t, "no folder is left", func() bool {
			return len(folders(t, place, filepath.Join(place, "cache", "work"))) == 0
		})
		if err := os.RemoveAll(place); err != nil {
			t.Error(err)
		}
	})
	is.NoErr(os.Chmod(place, os.ModeSticky|0o777))
	cache = filepath.Join(place, "cache")
	is.NoErr(os.Mkdir(cache, 0o755))
	return place, cache
}

// testMachine is this machine with a place of the test's own. Variables are as given, else as they are but for
// DATABASE_URL. LETTERBOX_PG_BIN can name a version to run the tests with.
func testMachine(t *testing.T, variables map[string]string) (m machine, place string) {
	t.Helper()
	place, _ = testPlace(t)
	m = thisMachine()
	m.places = func(bool) []string { return []string{place} }
	m.stderr = t.Output()
	m.getenv = func(name string) string {
		if value, ok := variables[name]; ok {
			return value
		}
		if name == "DATABASE_URL" {
			return ""
		}
		return os.Getenv(name)
	}
	return m, place
}

// helper is a process with a server.
type helper struct {
	*exec.Cmd
	stdin  io.Closer
	stdout *bufio.Scanner
}

// startHelper starts a process, in a process group of its own, that starts a server in place. env comes on top of ours.
func startHelper(t *testing.T, place string, env ...string) *helper {
	t.Helper()
	is := is.New(t)
	self, err := os.Executable()
	is.NoErr(err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), helperVariable+"="+place, "DATABASE_URL=")
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	is.NoErr(err)
	stdout, err := cmd.StdoutPipe()
	is.NoErr(err)
	is.NoErr(cmd.Start())
	h := &helper{cmd, stdin, bufio.NewScanner(stdout)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return h
}

// folder waits for the helper's server and returns its folder.
func (h *helper) folder(t *testing.T) string {
	t.Helper()
	if !h.stdout.Scan() {
		t.Fatalf("the helper ended without a server: %v", h.stdout.Err())
	}
	path, ok := strings.CutPrefix(h.stdout.Text(), "folder ")
	if !ok {
		t.Fatal(h.stdout.Text())
	}
	return path
}

// eventually waits until what holds. It is for what other processes do, which give no event to wait for.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute not yet: %s", what)
		}
	}
}

// openLock opens a folder's lock, which can be locked once every process of the folder is gone.
func openLock(t *testing.T, folder string) *os.File {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_RDWR, 0)
	is.New(t).NoErr(err)
	t.Cleanup(func() { _ = lock.Close() })
	return lock
}

func free(lock *os.File) bool {
	return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// folders are those of ours below the given ones.
func folders(t *testing.T, bases ...string) []string {
	t.Helper()
	var all []string
	for _, base := range bases {
		found, err := filepath.Glob(filepath.Join(base, folderPrefix+"*"))
		is.New(t).NoErr(err)
		all = append(all, found...)
	}
	return all
}
