package guides_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/guides"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// statements are the blocks of SQL in a section of a page of docs.
func statements(t *testing.T, page, heading string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for {
		_, rest, more := strings.Cut(section, "```sql\n")
		if !more {
			return all
		}
		var sql string
		sql, section, _ = strings.Cut(rest, "```")
		all = append(all, sql)
	}
}

func TestMoving_BringsAlongWhatIsLeft(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	sql := statements(t, "moving.md", "From a table that you poll")
	is.Equal(len(sql), 3)
	create, move, left := sql[0], sql[1], sql[2]
	for _, sql := range []string{
		create,
		`INSERT INTO events (topic, payload, processed) VALUES ('charges.moved', '{"order": 1}', true), ('charges.moved', '{"order": 2}', false)`,
		move,
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		is.NoErr(err)
	}
	is.Equal(value[int](t, db, left), 0)

	got := make(chan guides.Charge, 2)
	work(t, db, typed.NewQueue[guides.Charge]("charges.moved").Handle(func(_ context.Context, c guides.Charge) error {
		got <- c
		return nil
	}))
	is.Equal(len(got), 1)
	is.Equal((<-got).Order, int64(2))
}

func TestTroubleshooting_ListsWorkersThatSleep(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	sql := statements(t, "troubleshooting.md", "LISTEN does not get through")
	asleep := "SELECT coalesce(sum(queues_asleep), 0)::int FROM (" + strings.TrimSuffix(strings.TrimSpace(sql[0]), ";") + ") AS list"
	is.Equal(value[int](t, db, asleep), 0)

	w, err := queue.NewWorker(db.Pool, guides.Charges.HandleTx(guides.Book),
		guides.BothVersions(func(context.Context, guides.DeliveryV2) error { return nil }))
	is.NoErr(err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for end := time.Now().Add(time.Minute); value[int](t, db, asleep) != 3; {
		is.True(time.Now().Before(end)) // three queues fall asleep
		time.Sleep(time.Millisecond)    // nothing tells when
	}
	stop()
	is.NoErr(<-ended)
}

func TestTroubleshooting_RunsOrRemovesOneMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	var ids []int64
	commit(t, db, func(tx pgx.Tx) (err error) {
		ids, err = typed.NewQueue[guides.Charge]("orders.placed").PublishBatch(t.Context(), tx,
			[]guides.Charge{{Order: 1}, {Order: 2}, {Order: 3}}, queue.Delay(time.Hour))
		return err
	})
	_, err := db.Pool.Exec(t.Context(), "UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now() WHERE id = $1", ids[2])
	is.NoErr(err)
	sql := statements(t, "troubleshooting.md", "Messages are delivered late")
	is.Equal(len(sql), 3)
	run := func(sql string, id int64) {
		sql = strings.ReplaceAll(sql, "4711", fmt.Sprint(id))
		for statement := range strings.SplitAfterSeq(sql, ";") {
			_, err := db.Pool.Exec(t.Context(), statement)
			is.NoErr(err)
		}
	}

	got := make(chan int64, 3)
	w, err := queue.NewWorker(db.Pool, queue.PollInterval(time.Hour), // it is woken
		typed.NewQueue[guides.Charge]("orders.placed").Handle(func(_ context.Context, c guides.Charge) error { got <- c.Order; return nil }))
	is.NoErr(err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	run(sql[2], ids[1])
	run(sql[2], ids[2])
	run(sql[1], ids[2])
	run(sql[1], ids[0])
	select {
	case order := <-got:
		is.Equal(order, int64(1))
	case <-time.After(time.Minute):
		t.Fatal("the message is not delivered")
	}
	stop()
	is.NoErr(<-ended)
	is.Equal(value[[]int64](t, db, "SELECT array_agg(id) FROM outbox"), ids[2:]) // a worker had it
	is.Equal(len(got), 0)
}
