package store

import "time"

// TimerRules says how a timer is rescheduled. The zero value moves it to the
// new time, and stores a new one beside it when it is running.
type TimerRules struct {
	Keep Keep
	// MaxWait, where above zero, bounds how late a timer can be moved, counted
	// from when it was first stored.
	MaxWait time.Duration
	// Refuse leaves everything as it is when the timer is running.
	Refuse bool
	// Err is what is wrong with an option that set the rules.
	Err error
}

// Keep says which due time holds when a timer that waits is rescheduled.
type Keep uint8

const (
	KeepNew Keep = iota
	KeepEarliest
	KeepLatest
)

// Timer is a row with a timer id, as a call found it.
type Timer struct {
	ID int64
	// DueAt is zero where the column holds an infinity.
	DueAt    time.Time
	Leased   bool
	Attempts int64
}

// Written is what became of one timer.
type Written struct {
	// ID is the row that was written, zero if none was; DueAt is when it is due.
	ID    int64
	DueAt time.Time
	// Found is the row that was there before, if any.
	Found *Timer
	// Parted says that Found goes on without its timer id.
	Parted bool
}

// StoredTimer is a row with a timer id, whole.
type StoredTimer struct {
	ID             int64
	Queue, TimerID string
	Payload        []byte
	// Headers is the JSON text of the column, nil where it is null.
	Headers []byte
	// Due is the due time in microseconds since 1970, or "infinity" or
	// "-infinity", which others may write; DueAt is zero then.
	Due                                             string
	DueAt                                           time.Time
	CreatedAt, ClaimedAt, FirstAttempt, LastAttempt time.Time
	Leased                                          bool
	Attempts, Deliveries                            int64
}

// TimerFilter selects timers. What is zero selects all.
type TimerFilter struct {
	Queue, Prefix      string
	DueFrom, DueBefore time.Time
	// Running adds those that are leased.
	Running bool
}

// TimerPlace is where a timer stands in the order of due time and id. The zero
// place is before the first.
type TimerPlace struct {
	Due string // as in StoredTimer
	ID  int64
}

// TimerCount counts timers by what they wait for.
type TimerCount struct{ Waiting, Due, Retrying, Running int64 }
