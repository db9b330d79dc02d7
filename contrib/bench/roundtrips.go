package main

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// roundTrips counts how often the connections of a run have asked and been answered: a write after something was read is
// a new question. A pipeline of statements is one. Connecting costs a few for each connection.
type roundTrips struct{ n atomic.Int64 }

// counting makes connections that are counted.
func (r *roundTrips) counting(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &countedConn{Conn: conn, trips: r}
		c.answered.Store(true)
		return c, nil
	}
}

type countedConn struct {
	net.Conn
	trips    *roundTrips
	answered atomic.Bool
}

func (c *countedConn) Write(b []byte) (int, error) {
	if c.answered.Swap(false) {
		c.trips.n.Add(1)
	}
	return c.Conn.Write(b)
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, err
}
