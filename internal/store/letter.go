package store

import "time"

// Letter is a row of the dead-letter table.
type Letter struct {
	ID, OriginalID int64
	Queue          string
	Payload        []byte
	// Headers is the JSON text of the column, nil where it is null.
	Headers    []byte
	Deliveries int64
	// CreatedAt is zero where the column holds an infinity, and so is FailedAt.
	CreatedAt, FailedAt    time.Time
	Reason, Error, TimerID string
	Place                  Place
}

// Place is where a letter stands in the order of its failure and its id. The
// zero Place is before all letters, whichever way one goes.
type Place struct {
	Known bool
	// FailedAt is in microseconds since 1970; the least number and the greatest
	// stand for the infinities, which others may write.
	FailedAt int64
	ID       int64
}

// LetterFilter selects letters. What is zero selects all, and nil IDs do.
type LetterFilter struct {
	Queue, Reason, Error     string
	FailedFrom, FailedBefore time.Time
	OlderThan                time.Duration
	IDs                      []int64
	// Last, where not zero, leaves out letters with higher ids: those that come
	// while one works through the table.
	Last int64
}

// LetterCount is how many letters of a queue have one reason.
type LetterCount struct {
	Queue, Reason  string
	Letters        int64
	Oldest, Newest time.Time
}

// Moved is a letter that is a message again.
type Moved struct{ Letter, Message int64 }

// Replayed is what one call did.
type Replayed struct {
	Moved []Moved
	// Live are letters that stayed because their timer id is live, Locked those
	// that another transaction has locked. Locked is for replays by id.
	Live, Locked []int64
}

// Fix replaces the payload of a letter on its way back, and, where ContentType
// is not empty, the header that says how it is encoded.
type Fix struct {
	Payload     []byte
	ContentType string
}
