//go:build unix && !aix && !solaris

package pgtest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// endVariable makes TestHelper_Ends, in a test binary that TestServer_EndsWithTheBinary starts, end in the way it names.
const endVariable = "LETTERBOX_PGTEST_END"

func TestHelper_Ends(t *testing.T) {
	end := os.Getenv(endVariable)
	if end == "" {
		t.Skip("only as a helper of TestServer_EndsWithTheBinary")
	}
	is := is.New(t)
	c, err := pgx.ParseConfig(pgtest.New(t).DSN)
	is.NoErr(err)
	lock, err := os.Open(filepath.Join(c.Host, "lock"))
	is.NoErr(err)
	is.NoErr(lock.Close())
	fmt.Printf("folder %s\n", c.Host)
	switch end {
	case "return":
	case "exit":
		os.Exit(3)
	case "panic":
		panic("as asked for")
	case "goroutine": // as go test -timeout does it
		go panic("as asked for")
		select {}
	}
}

func TestServer_EndsWithTheBinary(t *testing.T) {
	t.Parallel()
	folder := regexp.MustCompile(`(?m)^folder (.+)$`)
	for _, end := range []string{"return", "exit", "panic", "goroutine"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			self, err := os.Executable()
			is.NoErr(err)
			cmd := exec.Command(self, "-test.run=^TestHelper_Ends$")
			cmd.Env = append(os.Environ(), endVariable+"="+end, "DATABASE_URL=")
			// Through pipes, as go test does it: this waits until nobody holds them any more.
			out, err := cmd.CombinedOutput()
			is.Equal(err == nil, end == "return")
			m := folder.FindSubmatch(out)
			if m == nil {
				t.Fatalf("no folder in:\n%s", out)
			}
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
				if _, err := os.Stat(string(m[1])); errors.Is(err, fs.ErrNotExist) {
					return // the supervisor removes it once the server is gone
				}
			}
			t.Errorf("after a minute %s still exists", m[1])
		})
	}
}
