//go:build unix && !aix && !solaris

package pgserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/matryer/is"
)

func TestStart_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(*helper) error
	}{
		{"AfterKill", func(h *helper) error { return h.Process.Kill() }},
		// As a terminal does it: to the whole process group.
		{"AfterInterrupt", func(h *helper) error { return syscall.Kill(-h.Process.Pid, syscall.SIGINT) }},
		{"AfterTerminate", func(h *helper) error { return syscall.Kill(-h.Process.Pid, syscall.SIGTERM) }},
		{"AfterQuit", func(h *helper) error { return h.Process.Signal(syscall.SIGQUIT) }},
		{"AfterExitWithoutClose", func(h *helper) error { return h.stdin.Close() }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			place, _ := testPlace(t)
			h := startHelper(t, place)
			folder := h.folder(t)
			lock := openLock(t, folder)
			is.True(!free(lock))

			is.NoErr(test.end(h))
			eventually(t, "no process is left", func() bool { return free(lock) })
			eventually(t, "no folder is left", func() bool {
				_, err := os.Stat(folder)
				return errors.Is(err, fs.ErrNotExist)
			})
			is.Equal(len(folders(t, place)), 0)
		})
	}
}

func TestStart_LeavesNothingBehindAfterKillWhileStarting(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, reached string }{
		{"InInitdb", "cache/work/" + folderPrefix + "*/data/PG_VERSION"},
		{"InCopy", folderPrefix + "*/data/base"},
		{"InServer", folderPrefix + "*/data/postmaster.pid"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			place, cache := testPlace(t)
			h := startHelper(t, place, "LETTERBOX_PG_CACHE="+cache)
			var found []string
			eventually(t, test.reached, func() bool {
				var err error
				found, err = filepath.Glob(filepath.Join(place, test.reached))
				return err == nil && len(found) > 0
			})
			folder, _, _ := strings.Cut(found[0], "/data/")
			lock := openLock(t, folder)

			is.NoErr(h.Process.Kill())
			eventually(t, "no process is left", func() bool { return free(lock) })
			eventually(t, "no folder is left", func() bool {
				return len(folders(t, place, filepath.Join(cache, "work"))) == 0
			})
		})
	}
}

func TestStart_RunsSeveralAtOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, cache := testPlace(t) // cold: all of them run initdb
	var helpers [4]*helper
	for i := range helpers {
		helpers[i] = startHelper(t, place, "LETTERBOX_PG_CACHE="+cache)
	}
	seen := make(map[string]bool)
	for _, h := range helpers {
		seen[h.folder(t)] = true
	}
	is.Equal(len(seen), len(helpers)) // each has a folder of its own
	cached, err := filepath.Glob(filepath.Join(cache, dataPrefix+"*"))
	is.NoErr(err)
	is.Equal(len(cached), 1)                                   // one data directory was published
	is.Equal(len(folders(t, filepath.Join(cache, "work"))), 0) // and the others are gone
	for _, h := range helpers {
		is.NoErr(h.stdin.Close())
	}
	eventually(t, "no folder is left", func() bool { return len(folders(t, place)) == 0 })
}

func TestServer_CloseIsIdempotent(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	s, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	lock := openLock(t, folderOf(s))
	errs := make(chan error)
	for range 3 {
		go func() { errs <- s.Close() }()
	}
	for range 3 {
		is.NoErr(<-errs)
		// Each call, not only the first, returns when all is gone.
		is.True(free(lock))
		is.Equal(len(folders(t, place)), 0)
	}
	is.NoErr(s.Close())
}

func TestStart_ShowsTheLogOfAFailedStart(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	_, err := start(t.Context(), m, newSettings([]Option{Config("letterbox", "1")}))
	is.True(err != nil)
	is.True(strings.Contains(err.Error(), `unrecognized configuration parameter "letterbox"`))
	is.Equal(len(folders(t, place)), 0)
}

func TestStart_StopsWithItsContext(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.places = func(bool) []string {
		cancel() // a server was found, and none runs yet
		return []string{place}
	}
	_, err := start(ctx, m, settings{})
	is.True(errors.Is(err, context.Canceled))
	is.Equal(len(folders(t, place)), 0)
}
