// Package queuetest is for tests of code that publishes: it reads what a
// transaction has published, before it commits or without its ever committing.
// Package typedtest does the same for typed queues.
//
// A test begins a transaction on a real PostgreSQL, calls the code under test with
// it, asks here what was published, and rolls back: nothing is left behind, no
// worker ever sees it, and tests run beside each other in one database.
package queuetest

import (
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/queue"
)

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
	// Attempts counts the runs that failed.
	Attempts int64
	// Leased says that a worker has it.
	Leased bool
}

// Delay is how long after its publishing the message becomes due.
func (m Message) Delay() time.Duration { return m.DueAt.Sub(m.CreatedAt) }

// ContentType says how the payload is encoded, "" where nothing says.
func (m Message) ContentType() string { return m.Headers[queue.HeaderContentType] }

// Messages returns all messages of a queue that the transaction sees, timers too,
// in the order of their ids: what it has published itself, and what others have
// committed. It ends the test where they cannot be read, so it must be called from
// the test's own goroutine.
func Messages(t testing.TB, tx queue.Tx, q queue.Queue) []Message {
	t.Helper()
	table, err := q.Table()
	if err != nil {
		t.Fatalf("queuetest: queue %q: %v", q.Name(), err)
	}
	var rows []postgres.StoredTimer
	err = queue.Atomic(t.Context(), tx, table, false, func(tx postgres.Rower) (err error) {
		rows, err = table.ListMessages(t.Context(), tx, q.Name())
		return err
	})
	if err != nil {
		t.Fatalf("queuetest: read queue %q: %v", q.Name(), err)
	}
	messages := make([]Message, len(rows))
	for i := range rows {
		r := &rows[i]
		messages[i] = Message{
			ID: r.ID, Queue: r.Queue, TimerID: r.TimerID, Payload: r.Payload, Headers: queue.DecodeHeaders(r.Headers),
			CreatedAt: r.CreatedAt, DueAt: r.DueAt(), Attempts: r.Attempts, Leased: r.Leased,
		}
	}
	return messages
}
