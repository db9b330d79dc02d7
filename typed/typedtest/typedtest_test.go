package typedtest_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
	"github.com/letterbox-go/letterbox/typed/typedtest"
)

type order struct{ ID int }

var (
	placed  = typed.NewQueue("placed", codec.MsgPack[order]())
	shipped = typed.NewQueue[order]("shipped")
)

func newDB(t *testing.T) *pgtest.DB {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(schema))
}

func withID(id int) func(order) bool { return func(o order) bool { return o.ID == id } }

// publishAll is the code under test.
func publishAll(t *testing.T, tx queue.Tx) {
	t.Helper()
	is := is.New(t)
	_, err := placed.PublishBatch(t.Context(), tx, []order{{1}, {2}, {2}}, queue.Headers(map[string]string{"tenant": "a"}))
	is.NoErr(err)
	_, err = shipped.ScheduleAfter(t.Context(), tx, "order-3", time.Hour, order{3})
	is.NoErr(err)
}

func TestRequire_SeesWhatTheTransactionPublished(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	standard, err := sql.Open("pgx", db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer standard.Close()
	ways := map[string]func(t *testing.T) queue.Tx{
		"pgx": func(t *testing.T) queue.Tx {
			tx, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return tx
		},
		"database/sql": func(t *testing.T) queue.Tx {
			tx, err := standard.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return queue.SQL(tx)
		},
	}
	for name, begin := range ways {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			tx := begin(t)
			publishAll(t, tx)

			m := typedtest.RequirePublished(t, tx, placed, withID(1))
			is.Equal(m.Value, order{1})
			is.Equal(m.Headers["tenant"], "a")
			is.Equal(m.ContentType(), "application/msgpack")
			is.Equal(m.Delay(), time.Duration(0))
			typedtest.RequireNotPublished(t, tx, placed, withID(3))
			timer := typedtest.RequireScheduled(t, tx, shipped, "order-3")
			is.Equal(timer.Value, order{3})
			is.Equal(timer.Delay(), time.Hour)
			is.Equal(len(typedtest.Messages(t, tx, placed)), 3)

			is.NoErr(tx.Rollback(t.Context()))
			typedtest.RequireNotPublished(t, queue.Autocommit(db.Pool), placed, nil)
		})
	}
}

// failing stands in for the test that should fail.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestRequire_FailsAndSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, tt := range []struct {
		name string
		call func(t testing.TB, tx pgx.Tx)
		says []string
	}{
		{
			"nothing matches",
			func(t testing.TB, tx pgx.Tx) { typedtest.RequirePublished(t, tx, placed, withID(9)) },
			[]string{"0 messages", `"placed"`, "{ID:1}", "{ID:2}"},
		},
		{
			"two match",
			func(t testing.TB, tx pgx.Tx) { typedtest.RequirePublished(t, tx, placed, withID(2)) },
			[]string{"2 messages"},
		},
		{
			"it was published",
			func(t testing.TB, tx pgx.Tx) { typedtest.RequireNotPublished(t, tx, placed, withID(1)) },
			[]string{"1 messages", "{ID:1}"},
		},
		{
			"no such timer",
			func(t testing.TB, tx pgx.Tx) { typedtest.RequireScheduled(t, tx, shipped, "order-4") },
			[]string{`no timer "order-4"`, `timer "order-3"`},
		},
		{
			"an empty queue",
			func(t testing.TB, tx pgx.Tx) {
				typedtest.RequirePublished(t, tx, typed.NewQueue[order]("empty"), nil)
			},
			[]string{"there are none"},
		},
		{
			"not what it should be",
			func(t testing.TB, tx pgx.Tx) { typedtest.Messages(t, tx, typed.NewQueue[int]("placed")) },
			[]string{`queue "placed"`, "int"},
		},
		{
			"a bad queue",
			func(t testing.TB, tx pgx.Tx) { typedtest.Messages(t, tx, typed.NewQueue[int]("")) },
			[]string{"empty"},
		},
		{
			"no transaction",
			func(t testing.TB, _ pgx.Tx) { typedtest.Messages(t, nil, placed) },
			[]string{"transaction"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tx, err := db.Pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			publishAll(t, tx)
			f := &failing{TB: t}
			func() {
				defer func() {
					if r := recover(); r != nil && r != any(f) {
						panic(r)
					}
				}()
				tt.call(f, tx)
			}()
			for _, want := range tt.says {
				if !strings.Contains(f.said, want) {
					t.Errorf("it says %q, and nothing of %q", f.said, want)
				}
			}
		})
	}
}
