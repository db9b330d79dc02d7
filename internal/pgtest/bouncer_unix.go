//go:build unix

package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

const (
	// needBouncer is the variable that makes a missing PgBouncer a failure.
	needBouncer = "LETTERBOX_NEED_PGBOUNCER"
	// bouncerLimit is how long PgBouncer may take until it answers.
	bouncerLimit = 20 * time.Second
	bouncerPoll  = 10 * time.Millisecond
)

// Bouncer starts a PgBouncer in transaction mode before the database, for the length of the test, and returns its DSN. It
// skips the test where there is none, unless LETTERBOX_NEED_PGBOUNCER is set.
func (db *DB) Bouncer(t testing.TB) (dsn string) {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			if os.Getenv(needBouncer) != "" {
				t.Fatal("pgtest: there is no pgbouncer")
			}
			t.Skip("there is no pgbouncer: apt-get install pgbouncer")
		}
	}
	server := db.Pool.Config().ConnConfig
	port, err := pgserver.FreePort()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, bouncerFile(t, server, port))
	if os.Getuid() == 0 { // which PgBouncer refuses to be
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: ownerOf(t, server.Host)}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("pgtest: starting pgbouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dsn = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", server.User, port, server.Database)
	for end := time.Now().Add(bouncerLimit); ; {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err == nil {
			err = conn.Close(t.Context())
		}
		if err == nil {
			return dsn
		}
		if time.Now().After(end) {
			t.Fatalf("pgtest: pgbouncer does not answer: %v", err)
		}
		time.Sleep(bouncerPoll) // nothing tells when it is ready
	}
}

// bouncerFile writes the configuration, where every account can read it.
func bouncerFile(t testing.TB, server *pgx.ConnConfig, port int) (name string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "letterbox-bouncer-")
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	target := fmt.Sprintf("host=%s port=%d dbname=%s user=%s", server.Host, server.Port, server.Database, server.User)
	if server.Password != "" {
		target += " password=" + server.Password
	}
	text := strings.Join([]string{
		"[databases]", server.Database + " = " + target,
		"[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", port), "unix_socket_dir =",
		"auth_type = any", "pool_mode = transaction", "default_pool_size = 10", "",
	}, "\n")
	name = filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if os.Getuid() == 0 {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatalf("pgtest: %v", err)
		}
	}
	return name
}

// ownerOf is whose the server's socket is, or nobody.
func ownerOf(t testing.TB, host string) *syscall.Credential {
	t.Helper()
	if !filepath.IsAbs(host) {
		return &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	info, err := os.Stat(host)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
}
