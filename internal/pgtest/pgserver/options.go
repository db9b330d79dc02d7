package pgserver

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// An Option changes how [Start] starts a server.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

type settings struct {
	bin     string
	primary *Server // nil: the server is nobody's standby
	durable bool
	port    int // of 127.0.0.1; 0: none
	config  []parameter
}

// parameter is one line of postgresql.conf.
type parameter struct{ name, value string }

func newSettings(opts []Option) settings {
	var s settings
	for _, o := range opts {
		o.apply(&s)
	}
	return s
}

var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// socketPort is the port in the name of the server's socket. Every server has a folder of its own, so it need not differ.
func (s settings) socketPort() int { return cmp.Or(s.port, 5432) }

// check refuses what would be more, or less, than one line of postgresql.conf.
func (s settings) check() error {
	if s.port < 0 || s.port > 65535 {
		return fmt.Errorf("OnPort(%d): no port", s.port)
	}
	if s.primary != nil && s.primary.external {
		return errors.New("StandbyOf: the server at DATABASE_URL is not ours")
	}
	for _, p := range s.config {
		if !parameterName.MatchString(p.name) || strings.ContainsAny(p.value, "\r\n\x00") {
			return fmt.Errorf("Config(%q, %q): no parameter of postgresql.conf", p.name, p.value)
		}
	}
	return nil
}

// Bin starts the server from the binaries in dir, which must hold postgres and initdb. It comes before DATABASE_URL and
// LETTERBOX_PG_BIN. The default, and an empty dir, is to look for a server. The last of several holds.
func Bin(dir string) Option {
	return option(func(s *settings) { s.bin = dir })
}

// Durable leaves PostgreSQL's own settings for durability and memory as they are (fsync on) and keeps the data on a disk,
// not in memory: for benchmarks and for tests of what survives a crash. The default trades both for speed. A server
// named by DATABASE_URL is only checked to have fsync on. Repeating it changes nothing.
func Durable() Option {
	return option(func(s *settings) { s.durable = true })
}

// OnPort has the server accept TCP connections on that port of 127.0.0.1 too, for what cannot use its Unix socket, such as
// a proxy. They need no password. The default, and 0, is the socket alone. A server named by DATABASE_URL is refused, for
// nobody knows where it is reached. The last of several holds.
func OnPort(port int) Option {
	return option(func(s *settings) { s.port = port })
}

// StandbyOf starts the server as a hot standby: it begins as a copy of primary, which pg_basebackup makes, takes over what
// is committed there, and serves what reads, until pg_promote makes it a primary. It runs from the primary's binaries,
// whatever [Bin] says. A primary named by DATABASE_URL is refused, and [Start] fails with [ErrNoBaseBackup] where the
// binaries cannot copy. The primary may end first. The default, and nil, is a server of its own; the last of several holds.
func StandbyOf(primary *Server) Option {
	return option(func(s *settings) { s.primary = primary })
}

// ErrNoBaseBackup says that there is no pg_basebackup among the server's binaries, as in some packages and in the download.
var ErrNoBaseBackup = errors.New("no pg_basebackup")

// Config sets a parameter of postgresql.conf, such as Config("max_connections", "50"), over the package's own choice. A
// server named by DATABASE_URL is only checked to show this very value. Options for different names add up; of several
// for the same name the last holds.
func Config(name, value string) Option {
	return option(func(s *settings) { s.config = append(s.config, parameter{name, value}) })
}
