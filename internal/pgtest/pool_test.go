package pgtest

import (
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestClosePool_NamesConnectionsThatWereNotReleased(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	pool := New(t).Connect(t)
	conn, err := pool.Acquire(t.Context())
	is.NoErr(err)
	err = closePool(pool, time.Millisecond)
	is.True(err != nil && strings.Contains(err.Error(), "1 connections were not released"))
	conn.Release()
	is.NoErr(closePool(pool, time.Minute))
}
