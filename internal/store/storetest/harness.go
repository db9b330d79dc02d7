package storetest

import (
	"context"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Harness is one empty store, with the side doors that the scenarios need: a
// producer, a clock that can be moved, and a view into the tables. A harness
// belongs to one scenario; its methods are called from one goroutine at a
// time, while those of its store are not.
//
// Clean up with t.Cleanup of the test that the harness was made for.
type Harness interface {
	// Store is the store under test, the same one on each call.
	Store() store.Store

	// Publish writes the drafts and commits. The ids come in the order of the
	// drafts.
	Publish(ctx context.Context, drafts ...store.Draft) ([]int64, error)

	// Insert writes and commits a row that is due now, as a program that
	// knows only the table would: the headers are any JSON text, and nil
	// headers are a null column.
	Insert(ctx context.Context, queue string, payload, headers []byte) (int64, error)

	// Advance lets the time d pass. A store with a clock of its own moves it
	// on; where the clock cannot be moved, every instant of every row, the
	// nulls aside, moves back by d. Dead letters may stay as they are.
	Advance(ctx context.Context, d time.Duration) error

	// Rows is what the table holds, by id.
	Rows(ctx context.Context) ([]Row, error)

	// DeadLetters is what the dead-letter table holds, in the order it was
	// written.
	DeadLetters(ctx context.Context) ([]DeadLetter, error)

	// BreakDeadLetters makes every write to the dead-letter table fail, until
	// MendDeadLetters. What the table holds is not lost.
	BreakDeadLetters(ctx context.Context) error
	MendDeadLetters(ctx context.Context) error
}

// Locker is an optional side door of a [Harness]: the scenarios about rows
// that somebody has locked run only where there is one.
type Locker interface {
	// Lock takes the row locks in a transaction of its own, and holds them
	// until unlock.
	Lock(ctx context.Context, ids ...int64) (unlock func() error, err error)
}

// Holder is an optional side door of a [Harness]: the scenarios about rows that
// are handled in the transaction that holds them run only where there is one.
type Holder interface {
	// Hold begins a transaction and holds in it what the claim asks for.
	Hold(ctx context.Context, c store.Claim) (Hold, store.Batch, error)
}

// Hold is a transaction that holds rows.
type Hold interface {
	// Pass lets some time pass, and reads the store's clock then.
	Pass(ctx context.Context) (now time.Time, err error)
	Settle(ctx context.Context, outcomes ...store.Outcome) error
	Bury(ctx context.Context, outcomes ...store.Outcome) error
	Commit(ctx context.Context) error
}

// Row is one row of the table. Of a row that nobody holds, the token is
// uuid.Nil and ClaimedAt is zero; the other columns are as in [store.Claimed].
type Row struct {
	store.Claimed
	// Now is the store's clock when the row was read.
	Now time.Time
}

// held says whether somebody has claimed the row.
func (r Row) held() bool { return !r.ClaimedAt.IsZero() }

// DeadLetter is one row of the dead-letter table.
type DeadLetter struct {
	OriginalID int64
	Queue      string
	Payload    []byte
	Headers    []byte // nil where null
	TimerID    string // empty where null
	Deliveries int64
	CreatedAt  time.Time
	FailedAt   time.Time
	Reason     string
	Error      *string // nil where null
	// Now is the store's clock when the row was read.
	Now time.Time
}
