package dlq

import (
	"fmt"
	"math"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Letter is a dead letter. It is a copy: nothing that is done to it changes the
// table.
type Letter struct {
	// ID is the letter's own id, which replays and purges go by.
	ID int64
	// OriginalID is the id that the message had. A replay gives it a new one.
	OriginalID int64
	Queue      string
	Payload    []byte
	// Deliveries is how often the message was claimed.
	Deliveries int64
	// CreatedAt is when the message was published, FailedAt when it became a
	// letter, both by the database's clock, in UTC.
	CreatedAt, FailedAt time.Time
	// Reason is one of the reasons of package queue, such as
	// [queue.ReasonRejected], or what another program wrote.
	Reason string
	// Error is the text of the last error; it may be empty.
	Error string
	// TimerID is empty where the message was no timer.
	TimerID string

	rawHeaders []byte
	place      store.Place
}

func newLetter(l store.Letter) Letter {
	return Letter{
		ID: l.ID, OriginalID: l.OriginalID, Queue: l.Queue, Payload: l.Payload, Deliveries: l.Deliveries,
		CreatedAt: l.CreatedAt, FailedAt: l.FailedAt, Reason: l.Reason, Error: l.Error, TimerID: l.TimerID,
		rawHeaders: l.Headers, place: l.Place,
	}
}

// Header returns one header, "" where there is none.
func (l Letter) Header(name string) string { return l.Headers()[name] }

// Headers returns all headers, the envelope's included, in a map of its own. A
// value that is no string in the table is given as its JSON text.
func (l Letter) Headers() map[string]string { return queue.DecodeHeaders(l.rawHeaders) }

// ContentType says how the payload is encoded, "" where nothing says.
func (l Letter) ContentType() string { return l.Header(queue.HeaderContentType) }

// CorrelationID ties together the messages of one story.
func (l Letter) CorrelationID() string { return l.Header(queue.HeaderCorrelationID) }

// Cursor is where the letter stands among others, for [Page.After]. It is a short
// text of URL-safe characters with no meaning to anybody else, and stays good
// when the letter is gone.
func (l Letter) Cursor() string { return formatCursor(l.place) }

// A cursor is the microseconds of failed_at since 1970, which are exact, and the
// id. The extremes stand for the infinities that a timestamp may be.
func formatCursor(p store.Place) string {
	if !p.Known {
		return ""
	}
	return fmt.Sprintf("%d.%d", p.FailedAt, p.ID)
}

// minMicros is the beginning of PostgreSQL's time, in 4714 BC.
const minMicros = -210_866_803_200_000_000

func parseCursor(s string) (p store.Place, err error) {
	if s == "" {
		return p, nil
	}
	p.Known = true
	_, err = fmt.Sscanf(s, "%d.%d", &p.FailedAt, &p.ID)
	if err != nil || formatCursor(p) != s || p.FailedAt < minMicros && p.FailedAt != math.MinInt64 {
		return store.Place{}, fmt.Errorf("%w: %.50q is no cursor", ErrInvalid, s)
	}
	return p, nil
}
