package readme_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/readme"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestReadme_ShowsCodeThatWorks(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	ctx := t.Context()
	db := pgtest.New(t, pgtest.Schema("CREATE TABLE orders (id int PRIMARY KEY)"))
	for range 2 { // it can be called at each start
		is.NoErr(readme.CreateTables(ctx, db.Pool))
	}
	is.NoErr(readme.PlaceOrder(ctx, db.Pool, 1))
	std, err := sql.Open("pgx", db.DSN)
	is.NoErr(err)
	defer std.Close()
	is.NoErr(readme.PlaceOrderSQL(ctx, std, 2))
	is.True(readme.PlaceOrderSQL(ctx, std, 2) != nil) // there is one already, so there is no second message
	is.NoErr(readme.Announce(ctx, db.Pool, readme.OrderPlaced{ID: 3}))
	is.NoErr(pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		ids, err := readme.Import(ctx, tx, []readme.OrderPlaced{{ID: 4}, {ID: 5}})
		is.Equal(ids, []int64{4, 5})
		return err
	}))
	var now, later int
	const count = "SELECT count(*) FILTER (WHERE next_attempt_at <= now()), count(*) FILTER (WHERE next_attempt_at > now()) FROM outbox"
	is.NoErr(db.Pool.QueryRow(ctx, count).Scan(&now, &later))
	is.Equal([]int{now, later}, []int{3, 2})

	got := make(chan int, 10)
	working, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	w, err := queue.NewWorker(db.Pool, readme.Placed.Handle(func(_ context.Context, o readme.OrderPlaced) error {
		got <- o.ID
		if len(got) == 3 {
			stop()
		}
		return nil
	}, queue.Concurrency(1)))
	is.NoErr(err)
	is.NoErr(w.Run(working))
	handled := []int{<-got, <-got, <-got}
	slices.Sort(handled)
	is.Equal(handled, []int{1, 2, 3})

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	is.NoErr(readme.Work(stopped, db.Pool))
	is.NoErr(readme.OnPlaced(ctx, readme.OrderPlaced{ID: 1}))
}

func TestSummarize_IsDueAtNight(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	ctx := t.Context()
	db := pgtest.New(t)
	is.NoErr(readme.CreateTables(ctx, db.Pool))
	got := make(chan readme.Summary, 1)
	w, err := queue.NewWorker(db.Pool, readme.Summarize(func(_ context.Context, s readme.Summary) error {
		got <- s
		return nil
	}))
	is.NoErr(err)
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(working) }()
	const ticks = "orders.summary.ticks.nightly"
	var at string
	for end := time.Now().Add(time.Minute); at == ""; {
		is.True(time.Now().Before(end))
		err := db.Pool.QueryRow(ctx, "SELECT to_char(next_attempt_at AT TIME ZONE 'Europe/Berlin', 'HH24:MI') FROM outbox WHERE queue = $1", ticks).Scan(&at)
		is.True(err == nil || errors.Is(err, pgx.ErrNoRows))
		time.Sleep(time.Millisecond) // nothing tells when it is stored
	}
	is.Equal(at, "02:30")

	_, err = db.Pool.Exec(ctx, "UPDATE outbox SET next_attempt_at = now() WHERE queue = $1", ticks)
	is.NoErr(err)
	_, err = db.Pool.Exec(ctx, "SELECT pg_notify('outbox_outbox', $1)", ticks)
	is.NoErr(err)
	select {
	case s := <-got:
		is.True(!s.Until.IsZero())
	case <-time.After(time.Minute):
		t.Fatal("the message does not come")
	}
	stop()
	is.NoErr(<-ended)
}
