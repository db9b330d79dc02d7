package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// ErrRefused says that the store has answered, and that nothing was done: a table
// is missing, a right.
var ErrRefused = errors.New("refused")

// Exchanger settles what is finished and claims what is next.
type Exchanger interface {
	// Exchange writes the outcomes, then makes the claims, in one round trip
	// and one commit: all of it happens or none. Kinds are Ack, Retry and
	// Release; no row appears twice. Rows that others have locked are passed
	// over by claims, never waited for; a row to be settled is waited for as long
	// as an extension has it locked, but not as long as a transaction of the
	// user's may, which moves a running timer.
	//
	// After an error that is not [ErrRefused] nothing is known: the writes may
	// have been committed and the answer lost. The caller may repeat the outcomes (those that did
	// take effect then count as not settled) and gives the tokens of the
	// claims to [Returner.Return].
	Exchange(ctx context.Context, outcomes []Outcome, claims []Claim) (Exchanged, error)
}

// Burier moves rows to the dead-letter table.
type Burier interface {
	// Bury deletes the rows and writes their dead letters in one statement,
	// apart from [Exchanger.Exchange] so that a broken dead-letter table
	// holds up nothing else. It returns the ids of the rows that moved, and of
	// those that are locked, as [Exchanged] lists them; an error leaves every row
	// where it was.
	Bury(ctx context.Context, outcomes []Outcome) (moved, locked []int64, err error)
}

// Extender keeps leases alive.
type Extender interface {
	// Extend starts the given leases anew, all in one statement, and returns
	// the ids of the rows that still hold their token. A row that somebody
	// has locked is left as it is and still counts as held: whoever locks a
	// leased row is about to settle it, or moves a timer that runs.
	Extend(ctx context.Context, leases []Lease) ([]int64, error)
}

// Returner gives back what a lost answer claimed.
type Returner interface {
	// Return releases, with no delay, every row of the queues that holds one
	// of the tokens. It is for claims whose answer never came. It passes over rows
	// that somebody has locked: their leases run out.
	Return(ctx context.Context, queues []string, tokens []uuid.UUID) error
}

// Looker says what is coming.
type Looker interface {
	// Look answers for all queues in one statement that locks and writes
	// nothing. The answers come in the order of the questions.
	Look(ctx context.Context, queues []Watch) ([]Outlook, error)
}

// Teller wakes workers.
type Teller interface {
	// Tell has the other workers of the queues look what is due, and what will be.
	Tell(ctx context.Context, queues []string) error
}

// Store is all of the lease core's roles on one table. Its methods are safe
// for concurrent use.
type Store interface {
	Exchanger
	Burier
	Extender
	Returner
	Looker
	Teller
}
