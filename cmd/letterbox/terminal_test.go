//go:build linux

package main

import (
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// session is a command at a terminal.
type session struct {
	*command
	keys  io.Writer
	ended chan struct{} // the terminal's output has
}

// atTerminal starts a command whose three streams are a terminal.
func atTerminal(t *testing.T, db *pgtest.DB, env []string, args ...string) *session {
	t.Helper()
	s := &session{command: prepare(t, db.DSN, args...), ended: make(chan struct{})}
	s.Stdout, s.Stderr = nil, nil
	s.Env = append(append(s.Env, "TERM=xterm"), env...)
	tty, err := pty.StartWithSize(s.Cmd, &pty.Winsize{Rows: 12, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	s.keys = tty
	go func() {
		defer close(s.ended)
		_, _ = io.Copy(s.out, tty) // ends with an error when the other side is closed
	}()
	t.Cleanup(func() { _ = tty.Close() })
	return s
}

func (s *session) end(t *testing.T) result {
	t.Helper()
	<-s.ended
	return s.command.end(t)
}

func (s *session) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		t.Fatal(err)
	}
}

func (s *session) awaits(t *testing.T, text string) {
	t.Helper()
	await(t, text, func() bool { return strings.Contains(s.out.String(), text) })
}

func TestTerminal_IsAskedBeforeWhatDestroys(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	left := func() int { return ask[int](t, db, `SELECT count(*) FROM outbox_dlq`) }

	s := atTerminal(t, db, nil, "dlq", "purge", "--all")
	s.awaits(t, "purge 4 dead letters? [y/N] ")
	s.types(t, "\n")
	s.end(t).wants(t, 1, "nothing was changed", "")
	is.Equal(left(), 4)

	s = atTerminal(t, db, nil, "dlq", "purge", "--all")
	s.awaits(t, "[y/N] ")
	s.types(t, "\x03") // ctrl-C
	s.end(t).wants(t, 130, "letterbox: interrupted", "")
	is.Equal(left(), 4)

	s = atTerminal(t, db, nil, "dlq", "replay", "--queue", "parcels")
	s.awaits(t, "replay 1 dead letter? [y/N] ")
	s.types(t, "y\n")
	s.end(t).wants(t, 0, "moved 1 dead letter", "")
	is.Equal(left(), 3)

	s = atTerminal(t, clocks(t), nil, "timers", "cancel", "reminders", "--prefix", "a")
	s.awaits(t, `Cancel 3 timers of queue "reminders"? [y/N] `)
	s.types(t, "yes\n")
	s.end(t).wants(t, 0, "cancelled 3 timers", "")
}

func TestTerminal_HasColoursUnlessTold(t *testing.T) {
	t.Parallel()
	db := made(t)
	const colour = "\x1b[32m"
	for _, tt := range []struct {
		name     string
		env      []string
		args     []string
		coloured bool
	}{
		{"as it is", nil, []string{"doctor"}, true},
		{"NO_COLOR", []string{"NO_COLOR=1"}, []string{"doctor"}, false},
		{"an empty NO_COLOR says nothing", []string{"NO_COLOR="}, []string{"validate"}, true},
		{"--no-color", nil, []string{"validate", "--no-color"}, false},
		{"a dumb one", []string{"TERM=dumb"}, []string{"validate"}, false},
		{"JSON", nil, []string{"validate", "--json"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := atTerminal(t, db, tt.env, tt.args...).end(t)
			r.wants(t, 0, "ok", "")
			if strings.Contains(r.out, colour) != tt.coloured || strings.Contains(r.out, "\x1b") != tt.coloured {
				t.Errorf("%q", r.out)
			}
		})
	}
}

func TestTerminal_ShowsStatusAgainAndAgain(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	execute(t, db, `INSERT INTO outbox (queue, payload) SELECT 'many' || g, '' FROM generate_series(1, 30) AS g`)
	s := atTerminal(t, db, nil, "status", "--interval", "100ms")
	await(t, "three screens", func() bool { return strings.Count(s.out.String(), "\x1b[H") >= 3 })
	s.types(t, "\x03")
	r := s.end(t)
	r.wants(t, 0, "further lines", "") // it is 12 lines high
	for screen := range strings.SplitSeq(r.out, "\x1b[H") {
		is.True(strings.Count(screen, "\n") < 12)
	}
	is.True(strings.Contains(r.out, "published "))

	r = atTerminal(t, db, nil, "status", "--once").end(t)
	r.wants(t, 0, "many30", "")
	is.True(!strings.Contains(r.out, "\x1b"))
	r = atTerminal(t, db, []string{"TERM=dumb"}, "status").end(t)
	r.wants(t, 0, "many30", "")
}

func TestTerminal_ShowsProgress(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	file := t.TempDir() + "/lines"
	is.NoErr(os.WriteFile(file, []byte(strings.Repeat("{}\n", 5000)), 0o600))
	s := atTerminal(t, db, nil, "publish", "q", "--lines", "--file", file)
	s.end(t).wants(t, 0, "publishing", "")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 5000)

	letters(t, db, "q", 1000)
	open := gate(t, db)
	s = atTerminal(t, db, nil, "dlq", "replay", "--all", "--batch", "10", "--yes")
	s.awaits(t, "20/1000")
	is.NoErr(s.Process.Signal(syscall.SIGINT))
	s.awaits(t, "stopping after this batch")
	open()
	s.end(t).wants(t, 130, "30 of 1000 dead letters moved", "")
}
