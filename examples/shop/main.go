// Shop is a small HTTP service that takes orders. An order and the message about it are one commit; a worker, in the same
// process or in another, confirms the order and has a receipt sent. The domain is in package orders, HTTP in web.go.
//
// Start it, with nothing set up. It starts a PostgreSQL of its own, which goes when it ends:
//
//	go run ./examples/shop
//
// Then, in another terminal, place an order and look at it a moment later, when it is "receipted":
//
//	curl -i localhost:8080/orders -d '{"item": "tea", "quantity": 2, "email": "me@example.com"}'
//	curl localhost:8080/orders/1
//
// There are three teapots. These orders leave neither a row nor a message behind:
//
//	curl localhost:8080/orders -d '{"item": "teapot", "quantity": 4, "email": "me@example.com"}'
//	curl localhost:8080/orders -d '{"item": "tea", "quantity": 0, "email": "me@example.com"}'
//
// With a database that outlives the process (the shop creates a schema "shop" in it), web and worker can be processes of
// their own, as many as you like:
//
//	export DATABASE_URL=postgres://...
//	go run ./examples/shop -role=web
//	go run ./examples/shop -role=worker
//
// ctrl-C, or SIGTERM, ends it: requests that are being answered are finished, then the worker drains.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/examples/shop/orders"
	"github.com/letterbox-go/letterbox/internal/pgtest/pgserver"
)

func main() {
	role := flag.String("role", "all", "what this process does: all, web or worker")
	addr := flag.String("addr", "localhost:8080", "where to listen for HTTP")
	dsn := flag.String("dsn", "", "the `URL` of the database; without it DATABASE_URL, and without that a server of our own")
	flag.Parse()
	if *dsn == "" {
		*dsn = os.Getenv("DATABASE_URL")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *role, *addr, *dsn)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, role, addr, dsn string) (err error) {
	if role != "all" && role != "web" && role != "worker" {
		return fmt.Errorf("there is no role %q: it is all, web or worker", role)
	}
	if dsn == "" {
		server, err := pgserver.Start(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		dsn = server.DSN()
		fmt.Printf("no database is named, so the shop started its own, which goes with it:\n  %s\n", server.Origin())
		fmt.Printf("other processes can share it while it runs:\n  go run ./examples/shop -role=worker -dsn '%s'\n", dsn)
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := orders.Migrate(ctx, pool); err != nil {
		return err
	}
	p := process{pool: pool, shop: orders.New(pool, logReceipt), worker: role != "web"}
	if role != "worker" {
		if p.listener, err = net.Listen("tcp", addr); err != nil {
			return err
		}
		fmt.Printf("the shop is open at http://%s\n", p.listener.Addr())
	}
	return p.run(ctx)
}

// logReceipt stands for a mail server.
func logReceipt(_ context.Context, r orders.Receipt) error {
	slog.Info("receipt sent", slog.Int64("order", r.OrderID), slog.String("to", r.Email))
	return nil
}
