package postgres

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

// A server that is fenced off from writes keeps its sessions, and nobody publishes
// there any more. LISTEN goes through.
func TestListener_LeavesAServerThatTakesNoWrites(t *testing.T) {
	t.Parallel()
	if os.Getenv("DATABASE_URL") != "" && os.Getenv("LETTERBOX_PG_BIN") == "" {
		t.Skip("the server must be ours to configure: unset DATABASE_URL, or set LETTERBOX_PG_BIN")
	}
	is := is.New(t)
	server, err := pgserver.Start(t.Context(), pgserver.Bin(os.Getenv("LETTERBOX_PG_BIN")))
	is.NoErr(err)
	defer func() { is.NoErr(server.Close()) }()
	admin, err := pgx.Connect(t.Context(), server.DSN()+"&default_transaction_read_only=off")
	is.NoErr(err)
	defer admin.Close(t.Context())
	fence := func(on string) {
		for _, sql := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + on, "SELECT pg_reload_conf()"} {
			_, err := admin.Exec(t.Context(), sql)
			is.NoErr(err)
		}
	}
	config, err := pgx.ParseConfig(server.DSN())
	is.NoErr(err)
	states := make(chan bool, 1000)
	l := &Listener{
		Config: config, Channels: []string{"c"}, Log: slog.New(slog.DiscardHandler), pingAfter: 10 * time.Millisecond,
		Notified: func(string, string) {}, Listening: func(yes bool) { states <- yes },
	}
	await := func() bool {
		t.Helper()
		select {
		case yes := <-states:
			return yes
		case <-time.After(30 * time.Second):
			t.Fatal("nothing came")
			return false
		}
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	defer running.Wait()
	defer stop()

	is.True(await())
	fence("on")
	for range 3 { // the session that there was, and the tries after it
		is.True(!await())
	}
	fence("off")
	for !await() { // a try may have been under way
	}
}
