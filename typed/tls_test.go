//go:build unix

package typed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

func TestTLS_IsOnEveryConnection(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := startSecured(t)
	db := s.newDB(t)
	pool := open(t, dsn(t, db, s.port, password, s.roots))
	encrypted := func(ctx context.Context, tx pgx.Tx) (yes bool, err error) {
		err = tx.QueryRow(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&yes)
		return yes, err
	}
	var (
		plain, inTx = typed.NewQueue[int]("plain"), typed.NewQueue[int]("in-tx")
		handled     = make(chan bool, 10)
	)
	stop := start(t, pool, queue.PollInterval(time.Hour),
		plain.Handle(func(context.Context, int) error { handled <- true; return nil }),
		inTx.HandleTx(func(ctx context.Context, tx pgx.Tx, _ int) error {
			yes, err := encrypted(ctx, tx)
			handled <- yes
			return err
		}))
	commit(t, pool, func(tx pgx.Tx) error {
		yes, err := encrypted(t.Context(), tx)
		is.True(yes)
		_, err1 := plain.Publish(t.Context(), tx, 1)
		_, err2 := inTx.Publish(t.Context(), tx, 1)
		return errors.Join(err, err1, err2)
	})
	is.True(next(t, handled))
	is.True(next(t, handled))

	// The session that listens is known by the locks that it sleeps with; there are others, and none is in clear.
	const ours = `FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'ours'`
	eventually(t, db.Pool, true, "SELECT count(*) > 0 "+ours+" AND ssl AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
	var all, secured int
	is.NoErr(db.Pool.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE ssl) "+ours).Scan(&all, &secured))
	is.True(all >= 3) // the pool's, the worker's, and the listening one
	is.Equal(secured, all)
	is.NoErr(stop())
}

func TestTLS_IsNotDoneWithout(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	other := filepath.Join(t.TempDir(), "roots.pem")
	certificate, _ := selfSigned(t)
	private(t, filepath.Dir(other), filepath.Base(other), certificate)
	for _, tt := range []struct {
		name  string
		roots string
		to    func(ctx context.Context, host string) (net.Conn, error) // a server
		says  string
	}{
		{"server with another certificate", other, func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		}, "certificate"},
		{"server without TLS", s.roots, func(ctx context.Context, folder string) (net.Conn, error) { // which its socket is
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(folder, fmt.Sprintf(".s.PGSQL.%d", s.port)))
		}, "server refused TLS connection"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db, w := s.newDB(t), &witness{}
			folder := db.Pool.Config().ConnConfig.Host
			wire := newTap(t, func(ctx context.Context) (net.Conn, error) { return tt.to(ctx, folder) })
			pool := open(t, dsn(t, db, wire.port(), marker, tt.roots))
			q := typed.NewQueue[int]("q")
			stop := start(t, pool, queue.Logger(w.logger()),
				q.Handle(func(context.Context, int) error { return nil }),
				typed.NewQueue[int]("held").HandleBatchTx(func(_ context.Context, _ pgx.Tx, ms []*typed.Message[int]) []error { return make([]error, len(ms)) }))
			w.await(t, "cannot reach the outbox", "cannot handle messages in a transaction", "cannot listen", tt.says)
			_, err := q.Publish(t.Context(), queue.Autocommit(pool), 1)
			is.True(err != nil)
			discreet(t, err)
			is.NoErr(stop())
			w.check(t)
			wire.checkNothingInClear(t)
		})
	}
}

func TestSecrets_PasswordsAreInNoLog(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	for _, tt := range []struct {
		name string
		port int
		says string
	}{
		{"wrong password", s.port, "28P01"},
		{"server that cannot be reached", 1, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db, w := s.newDB(t), &witness{}
			pool := open(t, dsn(t, db, tt.port, marker, s.roots))
			q := typed.NewQueue[account]("accounts")
			stop := start(t, pool, queue.Logger(w.logger()), q.Handle(func(context.Context, account) error { return nil }),
				q.DeadLetters().Retain(time.Hour, dlq.Every(time.Millisecond)))
			w.await(t, "cannot reach the outbox", "cannot listen", "cannot remove old dead letters", tt.says)
			_, err := q.Publish(t.Context(), queue.Autocommit(pool), secret, inHeader)
			discreet(t, err)
			var refused *pgconn.ConnectError
			is.True(errors.As(err, &refused))
			discreet(t, queue.Outbox{}.Create(t.Context(), pool))
			is.NoErr(stop())
			w.check(t)
		})
	}
}

// tap forwards connections, and keeps what clients send.
type tap struct {
	listener net.Listener

	mu   sync.Mutex
	sent []*bytes.Buffer
}

// newTap listens until the test's end, and connects to what dial does.
func newTap(t *testing.T, dial func(context.Context) (net.Conn, error)) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{listener: l}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.forward(ctx, client, dial) })
		}
	})
	return w
}

func (w *tap) forward(ctx context.Context, client net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer client.Close()
	server, err := dial(ctx)
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})()
	sent := &bytes.Buffer{}
	w.mu.Lock()
	w.sent = append(w.sent, sent)
	w.mu.Unlock()
	go func() {
		_, _ = io.Copy(client, server) // ends with either of them
		_ = client.Close()
	}()
	_, _ = io.Copy(io.MultiWriter(server, writer(func(b []byte) (int, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return sent.Write(b)
	})), client)
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func (w *tap) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// checkNothingInClear wants every client to have asked for TLS, and to have sent
// records of TLS alone since.
func (w *tap) checkNothingInClear(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sent) < 3 {
		t.Errorf("only %d connections were tried", len(w.sent))
	}
	for _, sent := range w.sent {
		rest, asked := bytes.CutPrefix(sent.Bytes(), []byte{0, 0, 0, 8, 4, 210, 22, 47}) // SSLRequest
		if sent.Len() > 0 && !asked {
			t.Errorf("a client began in clear: %q", sent)
		}
		for len(rest) >= 5 {
			kind, length := rest[0], 5+int(rest[3])<<8+int(rest[4])
			if kind < 20 || kind > 23 { // TLS: change of cipher, alert, handshake, data
				t.Fatalf("a client went on in clear: %q", rest)
			}
			rest = rest[min(length, len(rest)):]
		}
	}
}
