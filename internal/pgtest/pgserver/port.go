package pgserver

import (
	"fmt"
	"net"
)

// FreePort is a port of 127.0.0.1 that nobody uses just now, for [OnPort] and for what stands before a server.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("pgserver: looking for a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
