package typed_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// The test binary becomes a worker that is to be killed when these are set.
const (
	childDSN = "LETTERBOX_TEST_CHILD_DSN"
	// childDies says at which step of the handler's transaction it kills itself;
	// not set: it blocks in its handler until somebody else does.
	childDies = "LETTERBOX_TEST_CHILD_DIES"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		fmt.Fprintln(os.Stderr, child(dsn))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// shortLease makes a dead worker's messages change hands soon.
const shortLease = time.Second

func child(dsn string) error {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return err
	}
	subscription := orders.Handle(func(_ context.Context, o order) error {
		fmt.Println("handling", o.ID)
		select {}
	})
	if step := os.Getenv(childDies); step != "" {
		n, err := strconv.Atoi(step)
		if err != nil {
			return err
		}
		config.ConnConfig.Tracer = &suicide{at: int64(n)}
		subscription = orders.HandleTx(ship)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	w, err := queue.NewWorker(pool, queue.Lease(shortLease), quietly, subscription)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

var (
	orders   = typed.NewQueue[order]("orders")
	shipping = typed.NewQueue[order]("shipping")
)

// ship is a handler with an effect and a message of its own.
func ship(ctx context.Context, tx pgx.Tx, o order) error {
	if _, err := tx.Exec(ctx, shipSQL, o.ID); err != nil {
		return err
	}
	_, err := shipping.Publish(ctx, tx, o)
	return err
}

const shipSQL = `INSERT INTO effects (order_id) VALUES ($1)`

// suicide kills the process at a step of the handler's transaction: the begin,
// the effect, the publish, the acknowledgement and the commit each have a
// beginning and an end.
type suicide struct {
	at   int64
	step atomic.Int64
	conn atomic.Pointer[pgx.Conn] // the transaction's: the worker has others
}

// shipSteps is how many steps ship's transaction has.
const shipSteps = 10

func (s *suicide) TraceQueryStart(ctx context.Context, conn *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if q.SQL == "begin" {
		s.conn.CompareAndSwap(nil, conn)
	}
	s.count(conn)
	return ctx
}

func (s *suicide) TraceQueryEnd(_ context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	s.count(conn)
}

func (s *suicide) count(conn *pgx.Conn) {
	if s.conn.Load() == conn && s.step.Add(1)-1 == s.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
