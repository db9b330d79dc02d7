package store

import (
	"time"

	"github.com/google/uuid"
)

// Draft is a message that is not yet in the table.
type Draft struct {
	Queue   string
	Payload []byte
	// Headers is a JSON object of strings.
	Headers []byte
	// TimerID, where not empty, makes the row the one live timer of its queue
	// with that id.
	TimerID string
	// At is when the message becomes due. The zero time means now.
	At time.Time
	// Delay is added to the store's clock where At is zero.
	Delay time.Duration
}

// Lease names one claimed row and the claim that holds it.
type Lease struct {
	ID    int64
	Token uuid.UUID
}

// Claimed is a row under lease, as it stood right after the claim.
type Claimed struct {
	Lease
	Queue   string
	Payload []byte
	// Headers is the JSON text of the column, nil where it is null. It need
	// not be an object: the table is shared with writers of every kind.
	Headers []byte
	TimerID string
	// Attempts counts the runs that failed; Deliveries counts the claims,
	// this one included.
	Attempts, Deliveries int64
	CreatedAt            time.Time
	// DueAt is when the row became due, ClaimedAt when it was claimed.
	DueAt, ClaimedAt time.Time
	// FirstAttemptAt and LastAttemptAt are zero before the first failure.
	FirstAttemptAt, LastAttemptAt time.Time
}
