package store

import (
	"time"

	"github.com/google/uuid"
)

// Claim asks for due rows of one queue.
type Claim struct {
	Queue string
	// Limit is the most rows to take; above zero.
	Limit int
	// Token is the lease that the rows get. All rows of a claim share it.
	Token uuid.UUID
	// Since, where not zero, leaves out rows that became due before it. It is
	// an instant of the store's clock, taken from an earlier claim. Such a
	// claim does not see everything that is due: see the engine's floor. It has
	// no meaning for expired leases.
	Since time.Time
	// ExpiredAfter, where above zero, turns the claim to rows whose lease is
	// older than this, instead of rows that nobody holds.
	ExpiredAfter time.Duration
}

// Batch answers one [Claim].
type Batch struct {
	// Messages is ordered by due time, then by id.
	Messages []Claimed
	// NextDue is how long from now the next row of the queue becomes due,
	// and HasNext whether there is one. Both are set only where the claim
	// came back with fewer rows than its limit and was not for expired leases,
	// and so is PassedOver.
	NextDue time.Duration
	HasNext bool
	// PassedOver says that there is a row that the claim asked for and did not
	// get, because somebody has it locked, or had until just now. If that ends
	// with a rollback, the row is as it was, and nobody is told.
	PassedOver bool
}

// Kind says what becomes of a claimed row. The zero Kind is no kind: nothing
// is left to write, because the row has been settled in a transaction of the
// handler's own.
type Kind uint8

const (
	// Ack deletes the row: the message is done.
	Ack Kind = iota + 1
	// Retry makes the row due again after Delay and counts a failed attempt.
	Retry
	// Release makes the row due again after Delay and takes back the
	// delivery that the claim counted: as if it had not been claimed.
	Release
	// Bury moves the row to the dead-letter table.
	Bury
)

// Outcome is what a worker decided about one claimed row.
type Outcome struct {
	Lease
	Kind Kind
	// Locked says that somebody had the row locked at the last try: it is not
	// waited for.
	Locked bool
	Delay  time.Duration // for Retry and Release: at least zero
	// Ran is how long ago the attempt began, for Retry: it sets the times of
	// the first and the last attempt.
	Ran time.Duration
	// Reason and Error go into the dead letter, for Bury; with another kind,
	// Reason says why it is that kind, and no store looks at it. An empty Error is
	// stored as null. What a text column cannot hold is replaced, and a reason
	// is cut at 64 characters: words must not keep a message from its grave.
	Reason, Error string
}

// Exchanged answers [Exchanger.Exchange].
type Exchanged struct {
	// Settled lists the outcomes that took effect, by row id, in no order.
	// An outcome that is in neither list found its lease gone and changed nothing.
	Settled []int64
	// Locked lists those whose rows still have their leases, but somebody else has
	// them locked: nothing was changed, and the caller tries again.
	Locked []int64
	// Batches answers the claims, one each, in their order.
	Batches []Batch
}

// Watch asks about one queue in [Looker.Look].
type Watch struct {
	Queue string
	// ExpiredAfter is how old a lease must be to count as expired; zero
	// means that expired leases are not looked for.
	ExpiredAfter time.Duration
}

// Outlook answers one [Watch].
type Outlook struct {
	Queue string
	// NextDue is how long from now the next unclaimed row becomes due (zero
	// or less: it is due), and HasNext whether there is one.
	NextDue time.Duration
	HasNext bool
	// Expired says that at least one lease is older than asked.
	Expired bool
}
