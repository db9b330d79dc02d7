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
