package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// The test binary is the quickstart too: started with this variable it runs main, as a user does.
const asQuickstart = "LETTERBOX_RUN_QUICKSTART"

func TestMain(m *testing.M) {
	if os.Getenv(asQuickstart) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const story = `looking for a PostgreSQL server
using PostgreSQL ...
created database ...
1. created the tables: orders, and outbox for the messages
2. committed order 1 and its message
3. rolled back order 2 and its message
   rows now: 1 in orders, 1 in outbox
4. starting a worker
got order 1
5. the worker has drained and stopped
   rows now: 1 in orders, 0 in outbox
done
`

// limit is how long a run may take on a machine that does much else.
const limit = time.Minute

var (
	usingLine   = regexp.MustCompile(`(?m)^using PostgreSQL (.*)$`)
	createdLine = regexp.MustCompile(`(?m)^created database (\S+)$`)
	folder      = regexp.MustCompile(`, in (/\S+)$`)
)

// told is the output without what differs from run to run.
func told(output string) string {
	output = usingLine.ReplaceAllString(output, "using PostgreSQL ...")
	return createdLine.ReplaceAllString(output, "created database ...")
}

func TestQuickstart_TellsItsStoryOnAServerItFinds(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	url := os.Getenv("DATABASE_URL")
	out, err := quickstart(t, url).Output()
	is.NoErr(err)
	is.Equal(told(string(out)), story)
	if url != "" {
		return // no server of its own
	}
	using := usingLine.FindString(string(out))
	in := folder.FindStringSubmatch(using)
	if in == nil {
		t.Fatalf("no folder in %q", using)
	}
	_, err = os.Stat(in[1]) // it goes only after the server has gone
	is.True(errors.Is(err, fs.ErrNotExist))
}

func TestQuickstart_LeavesNothingAtDatabaseURL(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := pgtest.New(t)
	out, err := quickstart(t, db.DSN).Output()
	is.NoErr(err)
	is.Equal(told(string(out)), story)
	is.True(strings.Contains(string(out), "at DATABASE_URL"))
	is.Equal(databases(t, db.Pool, createdLine.FindStringSubmatch(string(out))[1]), 0)
}

func TestQuickstart_EndsCleanlyWhenInterrupted(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for _, tt := range []struct{ name, after string }{
		{"without a server yet", "looking for"},
		{"with its database created", "created database"},
		{"with its tables created", "1. "},
		{"with the order placed", "2. "},
		{"before its worker", "3. "},
		{"with its worker starting", "4. "},
		{"while it drains", "got order"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			cmd := quickstart(t, db.DSN)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			is.NoErr(err)
			is.NoErr(cmd.Start())
			var out strings.Builder
			lines := bufio.NewScanner(stdout)
			for lines.Scan() {
				out.WriteString(lines.Text() + "\n")
				if strings.HasPrefix(lines.Text(), tt.after) {
					is.NoErr(cmd.Process.Signal(os.Interrupt))
					break
				}
			}
			rest, err := io.ReadAll(stdout)
			is.NoErr(err)
			out.Write(rest)
			// It may have been done before the signal came.
			if err := cmd.Wait(); err != nil {
				is.Equal(cmd.ProcessState.ExitCode(), 1)
				is.True(strings.HasPrefix(stderr.String(), "quickstart: interrupt signal received: "))
			}
			if created := createdLine.FindStringSubmatch(out.String()); created != nil {
				is.Equal(databases(t, db.Pool, created[1]), 0)
			}
		})
	}
}

// quickstart is a run of the program; url is its DATABASE_URL, "" for none.
func quickstart(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asQuickstart+"=yes", "DATABASE_URL="+url)
	return cmd
}

// databases counts the databases of a name.
func databases(t *testing.T, pool *pgxpool.Pool, name string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
