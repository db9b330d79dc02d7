package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// binary is the program as it is built.
var binary string

func TestMain(m *testing.M) {
	code, err := build(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func build(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "letterbox-cli-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary = filepath.Join(dir, "letterbox")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	return run(), nil
}

// patience is how long a test waits for what must come.
const patience = 60 * time.Second

// command is a run of the program that may be under way.
type command struct {
	*exec.Cmd
	out, errs *safeBuffer
}

// safeBuffer can be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// prepare makes a command with nothing of this process's environment that it would read but what is given.
func prepare(t *testing.T, dsn string, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	c := &command{exec.CommandContext(ctx, binary, args...), new(safeBuffer), new(safeBuffer)}
	c.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	if dsn != "" {
		c.Env = append(c.Env, "DATABASE_URL="+dsn)
	}
	c.Stdout, c.Stderr = c.out, c.errs
	return c
}

// result is what a command came to.
type result struct {
	code      int
	out, errs string
}

func (c *command) end(t *testing.T) result {
	t.Helper()
	err := c.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && exit.ExitCode() < 0 {
		t.Fatalf("%v: %v\n%s", c.Args, err, c.errs)
	}
	return result{c.ProcessState.ExitCode(), c.out.String(), c.errs.String()}
}

func (c *command) begin(t *testing.T) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}

func (c *command) run(t *testing.T) result {
	t.Helper()
	c.begin(t)
	return c.end(t)
}

// letterbox runs the program on a database.
func letterbox(t *testing.T, db *pgtest.DB, args ...string) result {
	t.Helper()
	return prepare(t, db.DSN, args...).run(t)
}

// fed is letterbox with standard input.
func fed(t *testing.T, db *pgtest.DB, in io.Reader, args ...string) result {
	t.Helper()
	c := prepare(t, db.DSN, args...)
	c.Stdin = in
	return c.run(t)
}

// wants checks the exit code, and that the outputs hold a text.
func (r result) wants(t *testing.T, code int, out, errs string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.errs, errs) {
		t.Fatalf("wanted exit code %d, %q and %q; got %d\nout: %s\nerr: %s", code, out, errs, r.code, r.out, r.errs)
	}
}

// object reads the output as one object of JSON.
func object[T any](t *testing.T, r result) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%v in %s\nerr: %s", err, r.out, r.errs)
	}
	return v
}

// objects reads the output as one object a line.
func objects[T any](t *testing.T, r result) (all []T) {
	t.Helper()
	for line := range strings.Lines(r.out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %s\nerr: %s", err, line, r.errs)
		}
		all = append(all, v)
	}
	return all
}

// made is a database with the tables.
func made(t *testing.T) *pgtest.DB {
	t.Helper()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(sql))
}

func execute(t *testing.T, db *pgtest.DB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// ask returns the one value of a query.
func ask[T any](t *testing.T, db *pgtest.DB, sql string, args ...any) (v T) {
	t.Helper()
	if err := db.Pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// await waits until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	end := time.After(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// letters makes dead letters of a queue.
func letters(t *testing.T, db *pgtest.DB, queue string, n int) {
	t.Helper()
	execute(t, db, `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason, last_exception)
		SELECT g, $1, convert_to('{"n":' || g || '}', 'UTF8'), '{"content-type":"application/json","correlation_id":"c"}', 3, now(), 'retry_terminal', 'timeout ' || g
		FROM generate_series(1, $2) AS g`, queue, n)
}
