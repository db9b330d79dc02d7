package typed_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// bury writes rows of the dead-letter table as a worker leaves them.
func bury(t *testing.T, pool dlqWriter, queue, payload string, headers any) (id int64) {
	t.Helper()
	const insert = `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason)
		VALUES (1, $1, $2, $3, 1, now(), 'rejected') RETURNING id`
	if err := pool.QueryRow(t.Context(), insert, queue, []byte(payload), headers).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

type dlqWriter interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func TestDeadLetters_ListValuesBesideWhatDoesNotDecode(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	orders := typed.NewQueue[order]("orders")
	letters := orders.DeadLetters()

	// One that its handler gives up, one that it cannot read, one of a type that nobody knows.
	outOfStock := errors.New("out of stock")
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err1 := orders.Publish(t.Context(), tx, order{ID: 7}, queue.CorrelationID("c-7"))
		_, err2 := orders.Bytes().Publish(t.Context(), tx, []byte(`{"id": "seven"}`), queue.ContentType("application/json"))
		_, err3 := orders.Bytes().Publish(t.Context(), tx, []byte("id=7"), queue.ContentType("text/csv"))
		_, err4 := typed.NewQueue[string]("mails").Publish(t.Context(), tx, "another queue's")
		return errors.Join(err1, err2, err3, err4)
	})
	start(t, db.Pool, orders.Handle(func(context.Context, order) error { return queue.Permanent(outOfStock) }))
	eventually(t, db.Pool, 3, "SELECT count(*)::int FROM outbox_dlq")

	list, err := letters.List(t.Context(), db.Pool, dlq.Filter{}, dlq.Page{})
	is.NoErr(err)
	is.Equal(len(list), 3)
	seen := map[string]bool{}
	for _, l := range list {
		is.Equal(l.Queue, "orders")
		var failed *codec.DecodeError
		var unknown *codec.UnknownContentTypeError
		switch string(l.Payload) {
		case `{"id":7}`:
			is.NoErr(l.Err)
			is.Equal(l.Value, order{ID: 7})
			is.Equal(l.Reason, queue.ReasonRetryTerminal)
			is.Equal(l.Error, "out of stock")
			is.Equal(l.CorrelationID(), "c-7")
		case `{"id": "seven"}`:
			is.True(errors.As(l.Err, &failed))
			is.Equal(l.Value, order{})
			is.Equal(l.Reason, queue.ReasonDecodeError)
		case "id=7":
			is.True(errors.As(l.Err, &unknown))
			is.Equal(l.Reason, queue.ReasonDecodeError)
		}
		seen[string(l.Payload)] = true
		one, err := letters.Get(t.Context(), db.Pool, l.ID)
		is.NoErr(err)
		is.Equal(one.Value, l.Value)
	}
	is.Equal(len(seen), 3)

	list, err = letters.List(t.Context(), db.Pool, dlq.Filter{Reason: queue.ReasonRetryTerminal}, dlq.Page{Size: 1})
	is.NoErr(err)
	is.Equal(len(list), 1)
	_, err = letters.Get(t.Context(), db.Pool, 99)
	is.True(errors.Is(err, dlq.ErrNotFound))
	_, err = typed.NewQueue[order]("mails").DeadLetters().Get(t.Context(), db.Pool, list[0].ID)
	is.True(errors.Is(err, dlq.ErrNotFound))
	counts, err := letters.Count(t.Context(), db.Pool, dlq.Filter{})
	is.NoErr(err)
	is.Equal(len(counts), 2)
}

func TestDeadLetters_FixAndReplay(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	before := typed.NewQueue[order]("orders")
	orders := typed.NewQueue("orders", codec.MsgPack[order]()) // it has moved on since

	got := make(chan *queue.Delivery, 10)
	values := make(chan order, 10)
	start(t, db.Pool, orders.Handle(func(ctx context.Context, o order) error {
		if o.Note == "" {
			return queue.Permanent(errors.New("no note"))
		}
		d, _ := queue.FromContext(ctx)
		values <- o
		got <- d
		return nil
	}))
	commit(t, db.Pool, func(tx pgx.Tx) error {
		_, err := before.PublishBatch(t.Context(), tx, []order{{ID: 1}, {ID: 2}},
			queue.CorrelationID("c-1"), queue.Headers(map[string]string{"tenant": "acme"}))
		return err
	})
	eventually(t, db.Pool, 2, "SELECT count(*)::int FROM outbox_dlq")
	unreadable := bury(t, db.Pool, "orders", "{", nil)

	letters := orders.DeadLetters()
	cannot := errors.New("no note for order 2")
	done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, letters.Fix(func(o order) (order, error) {
		if o.ID == 2 {
			return o, cannot
		}
		o.Note = "mended"
		return o, nil
	}))
	is.NoErr(err)
	is.Equal(done.Moved, int64(1))
	is.Equal(done.Skipped, int64(2))
	for _, s := range done.Skips {
		var failed *codec.DecodeError
		if s.Letter == unreadable {
			is.True(errors.As(s.Err, &failed))
		} else {
			is.True(errors.Is(s.Err, cannot))
		}
	}
	is.Equal(next(t, values), order{ID: 1, Note: "mended"})
	d := next(t, got)
	is.Equal(d.ContentType(), "application/msgpack")
	is.Equal(d.CorrelationID(), "c-1")
	is.Equal(d.Header("tenant"), "acme")
	is.Equal(d.Attempt, int64(1))
	is.Equal(d.Deliveries, int64(1))

	// What does not decode is mended as bytes, in a transaction of the caller's.
	commit(t, db.Pool, func(tx pgx.Tx) error {
		done, err := letters.Replay(t.Context(), tx, []int64{unreadable}, dlq.Fix(func(dlq.Letter) (dlq.Fixed, error) {
			return dlq.Fixed{Payload: []byte(`{"id": 3, "note": "by hand"}`), ContentType: "application/json"}, nil
		}))
		is.Equal(done.Moved, int64(1))
		return err
	})
	is.Equal(next(t, values), order{ID: 3, Note: "by hand"})

	n, err := letters.Purge(t.Context(), db.Pool, dlq.Everything())
	is.NoErr(err)
	is.Equal(n, int64(1))
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox")
}

// moody encodes as a string, unless it is told not to.
type moody string

func (m moody) MarshalJSON() ([]byte, error) {
	if m == "refuse" {
		return nil, errors.New("refused")
	}
	return json.Marshal(string(m))
}

func TestDeadLetters_FixThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	moods := typed.NewQueue[moody]("moods").MaxBytes(20)
	letters := moods.DeadLetters()
	for _, tt := range []struct {
		name string
		to   moody
		want func(error) bool
	}{
		{"a value that does not encode", "refuse", func(err error) bool { var e *codec.EncodeError; return errors.As(err, &e) }},
		{"a value over the limit", "a mood of far too many words", func(err error) bool { return errors.Is(err, queue.ErrTooLarge) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			id := bury(t, db.Pool, "moods", `"fine"`, nil)
			done, err := letters.Replay(t.Context(), queue.Autocommit(db.Pool), []int64{id}, letters.Fix(func(moody) (moody, error) { return tt.to, nil }))
			is.NoErr(err)
			is.Equal(done.Moved, int64(0))
			is.Equal(len(done.Skips), 1)
			is.True(tt.want(done.Skips[0].Err))
			is.True(!strings.Contains(done.Skips[0].Err.Error(), "words")) // never the payload
			_, err = letters.Get(t.Context(), db.Pool, id)
			is.NoErr(err) // it stayed
		})
	}
	_, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, letters.Fix(nil))
	is.New(t).True(errors.Is(err, dlq.ErrInvalid))
}

func TestDeadLetters_OfAQueueThatIsBroken(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, tt := range []struct {
		name  string
		queue typed.Queue[order]
		want  error
	}{
		{"without a name", typed.NewQueue[order](""), queue.ErrInvalidName},
		{"with two codecs of a kind", typed.NewQueue("orders", codec.JSON[order](), codec.JSON[order]()), nil},
		{"not made", typed.Queue[order]{}, queue.ErrNotMade},
		{"without a table", typed.NewQueue[order]("orders").In(queue.Outbox{Table: "missing"}), queue.ErrNoTable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			letters := tt.queue.DeadLetters()
			_, err1 := letters.List(t.Context(), db.Pool, dlq.Filter{}, dlq.Page{})
			_, err2 := letters.Get(t.Context(), db.Pool, 1)
			_, err3 := letters.Replay(t.Context(), queue.Autocommit(db.Pool), []int64{1})
			_, err4 := letters.Purge(t.Context(), db.Pool, dlq.Everything())
			for _, err := range []error{err1, err2, err3, err4} {
				is.True(err != nil)
				is.True(tt.want == nil || errors.Is(err, tt.want))
			}
		})
	}
}
