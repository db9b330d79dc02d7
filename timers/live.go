package timers

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Live is a timer that is in the table. It is a copy: nothing that is done to it
// changes the table.
type Live struct {
	// ID is the message's id, TimerID the timer's.
	ID      int64
	Queue   string
	TimerID string
	Payload []byte
	// DueAt is when it is due. It is the zero time where the table holds an
	// infinity, which others may write.
	DueAt time.Time
	// Leased says that a worker has claimed it, at ClaimedAt.
	Leased    bool
	ClaimedAt time.Time
	// Attempts counts the runs that failed, Deliveries the claims. Above zero
	// and not Leased, it waits for a retry.
	Attempts, Deliveries int64
	// CreatedAt is when it was first stored; it may have been rescheduled since.
	CreatedAt time.Time
	// FirstAttemptAt and LastAttemptAt tell of the runs that failed; they are
	// zero where none did.
	FirstAttemptAt, LastAttemptAt time.Time

	rawHeaders []byte
	place      store.TimerPlace
}

func newLive(r *store.StoredTimer) Live {
	return Live{
		ID: r.ID, Queue: r.Queue, TimerID: r.TimerID, Payload: r.Payload, DueAt: r.DueAt,
		Leased: r.Leased, ClaimedAt: r.ClaimedAt, Attempts: r.Attempts, Deliveries: r.Deliveries,
		CreatedAt: r.CreatedAt, FirstAttemptAt: r.FirstAttempt, LastAttemptAt: r.LastAttempt,
		rawHeaders: r.Headers, place: store.TimerPlace{Due: r.Due, ID: r.ID},
	}
}

// Header returns one header, "" where there is none.
func (l Live) Header(name string) string { return l.Headers()[name] }

// Headers returns all headers, the envelope's included, in a map of its own. A
// value that is no string in the table is given as its JSON text.
func (l Live) Headers() map[string]string { return queue.DecodeHeaders(l.rawHeaders) }

// ContentType says how the payload is encoded, "" where nothing says.
func (l Live) ContentType() string { return l.Header(queue.HeaderContentType) }

// CorrelationID ties together the messages of one story.
func (l Live) CorrelationID() string { return l.Header(queue.HeaderCorrelationID) }

// Cursor is where the timer stands among others, for [Page].After. It is a short
// text with no meaning to anybody else, and stays good when the timer is gone.
func (l Live) Cursor() string {
	return formatCursor(l.place)
}

// A cursor is the due time, as the place has it, and the id.
func formatCursor(p store.TimerPlace) string {
	if p == (store.TimerPlace{}) {
		return ""
	}
	return p.Due + "." + strconv.FormatInt(p.ID, 10)
}

// minMicros is the beginning of PostgreSQL's time, in 4714 BC, from 1970 on.
const minMicros = -210_866_803_200_000_000

func parseCursor(s string) (p store.TimerPlace, err error) {
	if s == "" {
		return p, nil
	}
	due, id, found := strings.Cut(s, ".")
	n, err := strconv.ParseInt(id, 10, 64)
	if found && err == nil && due != "infinity" && due != "-infinity" {
		var at int64
		if at, err = strconv.ParseInt(due, 10, 64); at < minMicros {
			found = false
		}
	}
	if !found || err != nil {
		return p, fmt.Errorf("%w: %.50q is no cursor", ErrInvalid, s)
	}
	return store.TimerPlace{Due: due, ID: n}, nil
}
