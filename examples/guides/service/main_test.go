package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/guides"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestRun_HandlesUntilItIsToldToStop(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	outbox, err := queue.Outbox{}.SQL()
	is.NoErr(err)
	db := pgtest.New(t, pgtest.Schema(outbox+`
		CREATE TABLE accounts (name text PRIMARY KEY, cents bigint NOT NULL);
		INSERT INTO accounts VALUES ('sales', 0);`))
	_, err = guides.Charges.Publish(t.Context(), queue.Autocommit(db.Pool), guides.Charge{Order: 1, Cents: 5})
	is.NoErr(err)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	probes, err := net.Listen("tcp", "127.0.0.1:0")
	is.NoErr(err)
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, db.DSN, probes) }()
	ask := func(path string) (status int) {
		res, err := http.Get("http://" + probes.Addr().String() + path) // the listener has it wait until it is answered
		is.NoErr(err)
		is.NoErr(res.Body.Close())
		return res.StatusCode
	}
	is.Equal(ask("/livez"), http.StatusOK)
	for cents, end := 0, time.Now().Add(time.Minute); cents != 5; {
		is.True(time.Now().Before(end))
		is.NoErr(db.Pool.QueryRow(t.Context(), "SELECT cents FROM accounts").Scan(&cents))
	}
	is.Equal(ask("/readyz"), http.StatusOK) // it has reached its queue: a message was handled
	stop()
	is.NoErr(<-ended)
	_, err = http.Get("http://" + probes.Addr().String() + "/livez")
	is.True(err != nil) // it answers no more
}

// The deployment in docs/deploying.md leaves the drain the time that it may take.
func TestGrace_FitsTheDeployment(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	page, err := os.ReadFile("../../../docs/deploying.md")
	is.NoErr(err)
	found := regexp.MustCompile(`terminationGracePeriodSeconds: (\d+)`).FindSubmatch(page)
	is.True(found != nil)
	seconds, err := strconv.Atoi(string(found[1]))
	is.NoErr(err)
	is.True(grace+5*time.Second < time.Duration(seconds)*time.Second)
}
