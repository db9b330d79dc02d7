//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// bouncer starts a PgBouncer in transaction mode before a database, for the length of the test, and returns its DSN.
func bouncer(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			if os.Getenv("LETTERBOX_NEED_PGBOUNCER") != "" {
				t.Fatal("there is no pgbouncer")
			}
			t.Skip("there is no pgbouncer: apt-get install pgbouncer")
		}
	}
	server := db.Pool.Config().ConnConfig
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	dir, err := os.MkdirTemp("", "letterbox-bouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	target := fmt.Sprintf("host=%s port=%d dbname=%s user=%s", server.Host, server.Port, server.Database, server.User)
	if server.Password != "" {
		target += " password=" + server.Password
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := strings.Join([]string{
		"[databases]", server.Database + " = " + target,
		"[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", port), "unix_socket_dir =",
		"auth_type = any", "pool_mode = transaction", "default_pool_size = 10", "",
	}, "\n")
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, ini)
	if os.Getuid() == 0 { // which PgBouncer refuses to be
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner(t, server.Host)}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	dsn := fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", server.User, port, server.Database)
	await(t, "that pgbouncer answers", func() bool {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
	return dsn
}

// owner is whose the server's socket is, or nobody.
func owner(t *testing.T, host string) *syscall.Credential {
	t.Helper()
	if !filepath.IsAbs(host) {
		return &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	info, err := os.Stat(host)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
}

func TestPooler_IsNoticedAndWorkedThrough(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	dsn := bouncer(t, db)
	through := func(args ...string) result { return prepare(t, dsn, args...).run(t) }

	r := through("doctor", "--json")
	e := object[examined](t, r)
	e.has(t, "connection", fine, "through a pooler")
	e.has(t, "notify", warning, "as PgBouncer does in transaction mode")
	is.True(e.OK)
	through("bench").wants(t, 1, "", "a pooler stands before the server")

	// Everything else is as without it, again and again, for the same sessions of the server come with what others have left.
	for range 3 {
		through("migrate", "up").wants(t, 0, "nothing is missing", "")
		through("publish", "q", "--data", "1").wants(t, 0, "", "")
		letters(t, db, "q", 20)
		through("dlq", "list").wants(t, 0, "timeout 20", "")
		through("dlq", "replay", "--queue", "q", "--batch", "7", "--yes").wants(t, 0, "moved 20 dead letters", "")
		through("peek", "q").wants(t, 0, "", "")
		through("status").wants(t, 0, "q", "")
		through("validate").wants(t, 0, "ok", "")
	}
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 63)
}
