//go:build unix

package typed_test

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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// bouncer starts a PgBouncer in transaction mode before a database, for the length
// of the test, and connects to it.
func bouncer(t *testing.T, db *pgtest.DB) *pgxpool.Pool {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path = "/usr/sbin/pgbouncer"; !exists(path) {
			if os.Getenv("LETTERBOX_NEED_PGBOUNCER") != "" {
				t.Fatal("there is no pgbouncer")
			}
			t.Skip("there is no pgbouncer: apt-get install pgbouncer")
		}
	}
	server := db.Pool.Config().ConnConfig
	port := freePort(t)
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
	err = os.WriteFile(ini, []byte(strings.Join([]string{
		"[databases]", server.Database + " = " + target,
		"[pgbouncer]", "listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", port), "unix_socket_dir =",
		"auth_type = any", "pool_mode = transaction", "default_pool_size = 10", "",
	}, "\n")), 0o644)
	if err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, ini)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: serverAccount(t, server.Host)}
	if cmd.SysProcAttr.Credential != nil { // it must read what we wrote
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
	pool := db.Connect(t, func(c *pgxpool.Config) {
		c.ConnConfig.Host, c.ConnConfig.Port = "127.0.0.1", port
		c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = nil, nil
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	})
	for end := time.Now().Add(patience); ; {
		err := pool.Ping(t.Context())
		if err == nil {
			return pool
		}
		if time.Now().After(end) {
			t.Fatalf("pgbouncer does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // nothing tells when it is ready
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// serverAccount is whom PgBouncer runs as where we are root, which it refuses to
// be: the owner of the server's socket, or nobody.
func serverAccount(t *testing.T, host string) *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	if !filepath.IsAbs(host) {
		return &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	info, err := os.Stat(host)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestConnect_ThroughPgBouncer(t *testing.T) {
	t.Parallel()
	t.Run("poll only", func(t *testing.T) {
		t.Parallel()
		db := newDB(t)
		pool := bouncer(t, db)
		wholeLife(t, pool, pool, queue.NoListen(), queue.BlindPollInterval(20*time.Millisecond))
		leftBehind(t, db.Pool)
	})
	t.Run("listening on a connection of its own", func(t *testing.T) {
		t.Parallel()
		is := is.New(t)
		db := newDB(t)
		pool := bouncer(t, db)
		direct, err := pgx.ParseConfig(db.DSN)
		is.NoErr(err)
		// No poll comes in time: what is handled was notified.
		wholeLife(t, pool, pool, queue.ListenOn(direct), queue.PollInterval(time.Hour), queue.BlindPollInterval(time.Hour))
		leftBehind(t, db.Pool)
	})
}
