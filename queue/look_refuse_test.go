package queue_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

func TestLook_NeedsNoMoreThanSelect(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newOutbox(t)
	fillStates(t, db, "q", 2)
	reader := withRole(t, db, "SELECT ON outbox", "SELECT ON outbox_dlq")
	s, err := queue.Outbox{}.Stats(t.Context(), reader, queue.StatsOptions{})
	is.NoErr(err)
	is.NoErr(s.DeadErr)
	is.Equal(lines(s), []string{"q: due 2, leased 2 (expired 2), scheduled 2, retrying 2, dead 2"})
	list, _, err := queue.New("q").Peek(t.Context(), reader, queue.StateWaiting, queue.Page{})
	is.NoErr(err)
	is.Equal(len(list), 6)
	_, err = queue.Outbox{}.Upkeep(t.Context(), reader)
	is.NoErr(err)

	stranger := withRole(t, db)
	_, err = queue.Outbox{}.Stats(t.Context(), stranger, queue.StatsOptions{})
	is.True(err != nil && strings.Contains(err.Error(), "looking needs SELECT"))
	_, _, err = queue.New("q").Peek(t.Context(), stranger, queue.StateWaiting, queue.Page{})
	is.True(err != nil && strings.Contains(err.Error(), "looking needs SELECT"))
}

func TestLook_RefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	db := newOutbox(t)
	empty := pgtest.New(t)
	ctx := t.Context()
	stats := func(r queue.Reader, o queue.StatsOptions) error {
		_, err := queue.Outbox{}.Stats(ctx, r, o)
		return err
	}
	peek := func(q queue.Queue, r queue.Reader, s queue.MessageState, p queue.Page) error {
		_, _, err := q.Peek(ctx, r, s, p)
		return err
	}
	id := func(q queue.Queue, r queue.Reader) error {
		_, _, err := q.PeekID(ctx, r, 1)
		return err
	}
	upkeep := func(o queue.Outbox, r queue.Reader) error {
		_, err := o.Upkeep(ctx, r)
		return err
	}
	q, long := queue.New("q"), queue.Outbox{Table: strings.Repeat("x", 64)}
	var none *pgxpool.Pool
	tests := []struct {
		name string
		err  error
		is   error
		says string
	}{
		{"cap", stats(db.Pool, queue.StatsOptions{Cap: -1}), queue.ErrInvalid, "Cap"},
		{"queues", stats(db.Pool, queue.StatsOptions{MaxQueues: -1}), queue.ErrInvalid, "MaxQueues"},
		{"lease", stats(db.Pool, queue.StatsOptions{Lease: -1}), queue.ErrInvalid, "Lease"},
		{"name", stats(db.Pool, queue.StatsOptions{Queues: []string{"a\x00b"}}), queue.ErrInvalidName, "NUL"},
		{"no database", stats(nil, queue.StatsOptions{}), queue.ErrNoTransaction, `"outbox"`},
		{"nil pool", stats(none, queue.StatsOptions{}), queue.ErrNoTransaction, `"outbox"`},
		{"nil transaction", stats(queue.SQL(nil), queue.StatsOptions{}), queue.ErrNoTransaction, `"outbox"`},
		{"no table", stats(empty.Pool, queue.StatsOptions{}), queue.ErrNoTable, "Outbox.Create"},
		{"page", peek(q, db.Pool, 0, queue.Page{Size: 1001}), queue.ErrInvalid, "1 to 1000"},
		{"negative page", peek(q, db.Pool, 0, queue.Page{Size: -1}), queue.ErrInvalid, "1 to 1000"},
		{"cursor", peek(q, db.Pool, 0, queue.Page{After: "7"}), queue.ErrInvalid, `"7"`},
		{"state", peek(q, db.Pool, 9, queue.Page{}), queue.ErrInvalid, "state 9"},
		{"queue", peek(queue.New(""), db.Pool, 0, queue.Page{}), queue.ErrInvalidName, "empty"},
		{"zero queue", peek(queue.Queue{}, db.Pool, 0, queue.Page{}), queue.ErrNotMade, ""},
		{"peek at no database", peek(q, nil, 0, queue.Page{}), queue.ErrNoTransaction, `"q"`},
		{"peek at no table", peek(q, empty.Pool, 0, queue.Page{}), queue.ErrNoTable, "Outbox.Create"},
		{"id in no database", id(q, nil), queue.ErrNoTransaction, `message 1 of queue "q"`},
		{"id in no table", id(q, empty.Pool), queue.ErrNoTable, "Outbox.Create"},
		{"id of the zero queue", id(queue.Queue{}, db.Pool), queue.ErrNotMade, ""},
		{"upkeep of no database", upkeep(queue.Outbox{}, nil), queue.ErrNoTransaction, `"outbox"`},
		{"upkeep of no table", upkeep(queue.Outbox{}, empty.Pool), queue.ErrNoTable, "Outbox.Create"},
		{"upkeep of long names", upkeep(long, db.Pool), nil, "too long"},
	}
	for _, tt := range tests {
		switch {
		case tt.err == nil:
			t.Errorf("%s: no error", tt.name)
		case tt.is != nil && !errors.Is(tt.err, tt.is), !strings.Contains(tt.err.Error(), tt.says):
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
}
