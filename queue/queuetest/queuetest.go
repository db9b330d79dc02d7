package queuetest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// DB is what is asked for messages: any [queue.Tx], with what it has done itself, a
// *pgxpool.Pool, a *pgx.Conn or a [Box], with what was committed.
type DB interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Message is a message in the table, as it is now.
type Message struct {
	// ID is the id that Publish returned.
	ID    int64
	Queue string
	// TimerID is empty for a message that is no timer.
	TimerID string
	Payload []byte
	// Headers are all headers, the envelope's included.
	Headers map[string]string
	// CreatedAt and DueAt are instants of the database's clock: a message that is
	// due at once has the same in both, which is the start of its transaction.
	CreatedAt, DueAt time.Time
	// Due says that its time has come, by the database's clock.
	Due bool
	// Attempts counts the runs that failed.
	Attempts int64
	// Leased says that a worker has it.
	Leased bool
}

// Delay is how long after its publishing the message becomes due.
func (m Message) Delay() time.Duration { return m.DueAt.Sub(m.CreatedAt) }

// ContentType says how the payload is encoded, "" where nothing says.
func (m Message) ContentType() string { return m.Headers[queue.HeaderContentType] }

// Messages returns all messages of a queue that db sees, timers too, in the order
// of their ids: what a transaction has published itself, and what others have
// committed. It ends the test where they cannot be read, so it must be called from
// the test's own goroutine.
func Messages(t testing.TB, db DB, q queue.Queue) []Message {
	t.Helper()
	var messages []Message
	read(t, db, q, func(o store.Outbox) error {
		rows, now, err := o.ListMessages(t.Context(), q.Name())
		messages = lift(rows, now)
		return err
	})
	return messages
}

// Pending are the [Messages] that wait for a worker: they are due, and none has
// them.
func Pending(t testing.TB, db DB, q queue.Queue) []Message {
	t.Helper()
	return only(Messages(t, db, q), func(m Message) bool { return m.Due && !m.Leased })
}

// Scheduled are the [Messages] whose time is still to come: those with a delay,
// timers, and those that wait for a retry.
func Scheduled(t testing.TB, db DB, q queue.Queue) []Message {
	t.Helper()
	return only(Messages(t, db, q), func(m Message) bool { return !m.Due && !m.Leased })
}

// Published are the messages that were published. On a [Box], these are all that
// were ever committed, as they were then: what has been handled since is among
// them, a timer that was cancelled is not, and one that was rescheduled has its
// last value. A database keeps no such record: there it is [Messages].
func Published(t testing.TB, db DB, q queue.Queue) []Message {
	t.Helper()
	box, ok := db.(*Box)
	if !ok {
		return Messages(t, db, q)
	}
	table, err := q.Table()
	if err != nil {
		t.Fatalf("queuetest: queue %q: %v", q.Name(), err)
	}
	return lift(box.Store(table.Names()).Published(q.Name()), box.Now())
}

// DeadLetter is a message that failed for good.
type DeadLetter struct {
	// ID is the letter's own, OriginalID the message's.
	ID, OriginalID int64
	Queue          string
	TimerID        string
	Payload        []byte
	// Headers are all headers, the envelope's included.
	Headers map[string]string
	// CreatedAt and FailedAt are instants of the database's clock.
	CreatedAt, FailedAt time.Time
	// Deliveries is how often the message was claimed.
	Deliveries int64
	// Reason is one of the reasons of package queue, such as
	// [queue.ReasonRetryTerminal], and Error the text of the last error.
	Reason, Error string
}

// ContentType says how the payload is encoded, "" where nothing says.
func (d DeadLetter) ContentType() string { return d.Headers[queue.HeaderContentType] }

// DeadLetters returns all dead letters of a queue that db sees, in the order of
// their ids. It ends the test as [Messages] does.
func DeadLetters(t testing.TB, db DB, q queue.Queue) []DeadLetter {
	t.Helper()
	var letters []DeadLetter
	read(t, db, q, func(o store.Outbox) error {
		rows, err := o.ListDeadLetters(t.Context(), q.Name())
		for _, r := range rows {
			letters = append(letters, DeadLetter{
				ID: r.ID, OriginalID: r.OriginalID, Queue: r.Queue, TimerID: r.TimerID, Payload: r.Payload,
				Headers: queue.DecodeHeaders(r.Headers), CreatedAt: r.CreatedAt, FailedAt: r.FailedAt,
				Deliveries: r.Deliveries, Reason: r.Reason, Error: r.Error,
			})
		}
		return err
	})
	return letters
}

func read(t testing.TB, db DB, q queue.Queue, f func(store.Outbox) error) {
	t.Helper()
	table, err := q.Table()
	if err != nil {
		t.Fatalf("queuetest: queue %q: %v", q.Name(), err)
	}
	var rower postgres.Rower
	if db != nil {
		rower = db
	}
	if err := access.Read(rower, table, f); err != nil {
		t.Fatalf("queuetest: read queue %q: %v", q.Name(), err)
	}
}

func lift(rows []store.StoredTimer, now time.Time) []Message {
	messages := make([]Message, len(rows))
	for i := range rows {
		r := &rows[i]
		messages[i] = Message{
			ID: r.ID, Queue: r.Queue, TimerID: r.TimerID, Payload: r.Payload, Headers: queue.DecodeHeaders(r.Headers),
			CreatedAt: r.CreatedAt, DueAt: r.DueAt, Due: !r.DueAt.After(now), Attempts: r.Attempts, Leased: r.Leased,
		}
	}
	return messages
}

func only(all []Message, match func(Message) bool) (some []Message) {
	for _, m := range all {
		if match(m) {
			some = append(some, m)
		}
	}
	return some
}
