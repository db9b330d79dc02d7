//go:build unix

package typed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
	"github.com/letterbox-go/letterbox/queue"
)

// secured is a server of a test's own that takes connections over TCP, in clear and
// with TLS alike: which it is, is up to the client.
type secured struct {
	server *pgserver.Server
	port   int
	roots  string // the file with the certificate that the server's is signed by: itself
}

// password is that of the role app.
const password = "open sesame"

func startSecured(t *testing.T) secured {
	t.Helper()
	if os.Getenv("DATABASE_URL") != "" && os.Getenv("LETTERBOX_PG_BIN") == "" {
		t.Skip("the server must be ours to configure: unset DATABASE_URL, or set LETTERBOX_PG_BIN")
	}
	is := is.New(t)
	s := secured{roots: filepath.Join(t.TempDir(), "roots.pem")}
	var err error
	for range 5 { // somebody may take the port before the server does
		s.port, err = pgserver.FreePort()
		is.NoErr(err)
		if s.server, err = pgserver.Start(t.Context(), pgserver.OnPort(s.port), pgserver.Bin(os.Getenv("LETTERBOX_PG_BIN"))); err == nil {
			break
		}
	}
	is.NoErr(err)
	t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			t.Error(err)
		}
	})
	admin, err := pgx.Connect(t.Context(), s.server.DSN())
	is.NoErr(err)
	defer admin.Close(t.Context())
	var dir string
	is.NoErr(admin.QueryRow(t.Context(), "SHOW data_directory").Scan(&dir))
	certificate, key := selfSigned(t)
	is.NoErr(os.WriteFile(s.roots, certificate, 0o600))
	private(t, dir, "server.crt", certificate)
	private(t, dir, "server.key", key)
	private(t, dir, "pg_hba.conf", []byte("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n"))
	for _, sql := range []string{
		"SET password_encryption = 'scram-sha-256'", "CREATE ROLE app LOGIN PASSWORD '" + password + "'",
		"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()",
	} {
		_, err := admin.Exec(t.Context(), sql)
		is.NoErr(err)
	}
	ssl := ""
	for end := time.Now().Add(patience); ssl != "on" && time.Now().Before(end); { // sessions that began before the reload do not show it
		conn, err := pgx.Connect(t.Context(), s.server.DSN())
		is.NoErr(err)
		is.NoErr(conn.QueryRow(t.Context(), "SHOW ssl").Scan(&ssl))
		is.NoErr(conn.Close(t.Context()))
	}
	is.Equal(ssl, "on")
	return s
}

// newDB is an outbox that app may do everything with.
func (s secured) newDB(t *testing.T) *pgtest.DB {
	t.Helper()
	sql, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.On(s.server), pgtest.Schema(sql+"; GRANT ALL ON ALL TABLES IN SCHEMA public TO app"))
}

// dsn is how app connects to a database over TCP.
func dsn(t *testing.T, db *pgtest.DB, port int, password, roots string) string {
	t.Helper()
	c, err := pgx.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("app", password), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/" + c.Database,
		RawQuery: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {roots}, "application_name": {"ours"}, "target_session_attrs": {"any"}}.Encode(),
	}
	return u.String()
}

func open(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// private writes a file that only the server's account reads, whoever we are.
func private(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, name)
	owner, err := os.Stat(dir)
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err == nil && os.Geteuid() == 0 {
		stat := owner.Sys().(*syscall.Stat_t)
		err = os.Chown(path, int(stat.Uid), int(stat.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// selfSigned is a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certificate, private []byte) {
	t.Helper()
	is := is.New(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	is.NoErr(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "server of a test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	is.NoErr(err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	is.NoErr(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
