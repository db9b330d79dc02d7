package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// deaf stands between a client and a database until a client sends what holds a text: then it passes that on, and hangs up
// before there is an answer.
func deaf(t *testing.T, db *pgtest.DB, text string) (dsn string, hungUp *atomic.Int32) {
	t.Helper()
	server := db.Pool.Config().ConnConfig
	network, address := "tcp", net.JoinHostPort(server.Host, count(int64(server.Port)))
	if strings.HasPrefix(server.Host, "/") {
		network, address = "unix", server.Host+"/.s.PGSQL."+count(int64(server.Port))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	hungUp = new(atomic.Int32)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			var d net.Dialer
			to, err := d.DialContext(context.WithoutCancel(t.Context()), network, address)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(client, to)
				_ = client.Close()
			}()
			go func() {
				buffer := make([]byte, 1<<16)
				for {
					n, err := client.Read(buffer)
					if err != nil {
						_ = to.Close()
						return
					}
					last := strings.Contains(string(buffer[:n]), text)
					if last {
						hungUp.Add(1)
						_ = client.Close()
					}
					_, _ = to.Write(buffer[:n])
					if last {
						return
					}
				}
			}()
		}
	}()
	port := count(int64(l.Addr().(*net.TCPAddr).Port))
	return "host=127.0.0.1 port=" + port + " sslmode=disable dbname=" + server.Database + " user=" + server.User + " password='" + server.Password + "'", hungUp
}

func TestLostConnection_IsNotTakenForNothing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := clocks(t)
	before := ask[int](t, db, `SELECT count(*) FROM outbox`)
	const unknown = "whether it was done is not known"

	dsn, hungUp := deaf(t, db, "commit\x00")
	c := prepare(t, dsn, "publish", "q", "--lines")
	c.Stdin = strings.NewReader("1\n2\n")
	r := c.run(t)
	r.wants(t, 1, "", "0 messages published for certain; of those after line 0: the connection was lost, and "+unknown)
	is.True(!strings.Contains(r.errs, "nothing was published"))
	r = prepare(t, dsn, "timers", "cancel", "reminders", "--all", "--yes").run(t)
	r.wants(t, 1, "", unknown)
	is.True(!strings.Contains(r.errs, "nothing was cancelled"))
	is.Equal(hungUp.Load(), int32(2))
	await(t, "what the server did all the same", func() bool { return ask[int](t, db, `SELECT count(*) FROM outbox`) == before+2-3 })

	letters(t, db, "q", 30)
	dsn, _ = deaf(t, db, "DELETE FROM")
	prepare(t, dsn, "dlq", "purge", "--queue", "q", "--yes").run(t).
		wants(t, 1, "", "0 of 30 dead letters purged, which is committed; of the batch that was under way: the connection was lost, and "+unknown)
}
