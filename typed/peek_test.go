package typed_test

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

func TestPeek_CarriesValues(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ctx := t.Context()
	q := typed.NewQueue("peeked", codec.MsgPack[order]())
	ids, err := q.PublishBatch(ctx, queue.Autocommit(db.Pool), []order{{ID: 1}, {ID: 2}})
	is.NoErr(err)
	_, err = q.Publish(ctx, queue.Autocommit(db.Pool), order{ID: 3}, queue.Delay(time.Hour))
	is.NoErr(err)
	// A row of a writer that does not know the type.
	_, err = db.Pool.Exec(ctx, `INSERT INTO outbox (queue, payload, headers, next_attempt_at)
		VALUES ('peeked', 'no order', '{"content-type": "application/json"}', now() - interval '1 minute')`)
	is.NoErr(err)

	list, next, err := q.Peek(ctx, db.Pool, queue.StateDue, queue.Page{Size: 2})
	is.NoErr(err)
	is.Equal(len(list), 2)
	var undecodable *codec.DecodeError
	is.True(errors.As(list[0].Err, &undecodable))
	is.Equal(string(list[0].Payload), "no order")
	is.NoErr(list[1].Err)
	is.Equal(list[1].Value, order{ID: 1})
	is.Equal(list[1].ID, ids[0])
	is.Equal(list[1].State, queue.StateDue)

	list, next, err = q.Peek(ctx, db.Pool, queue.StateDue, queue.Page{Size: 2, After: next})
	is.NoErr(err)
	is.Equal(next, "")
	is.Equal(len(list), 1)
	is.Equal(list[0].Value, order{ID: 2})

	one, ok, err := q.PeekID(ctx, db.Pool, ids[1])
	is.NoErr(err)
	is.True(ok)
	is.Equal(one.Value, order{ID: 2})
	_, ok, err = orders.PeekID(ctx, db.Pool, ids[1]) // of another queue
	is.NoErr(err)
	is.True(!ok)
	_, _, err = typed.NewQueue[order]("").Peek(ctx, db.Pool, queue.StateDue, queue.Page{})
	is.True(errors.Is(err, queue.ErrInvalidName))
}
