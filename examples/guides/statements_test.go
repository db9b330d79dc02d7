package guides_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

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
