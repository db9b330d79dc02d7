package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Upkeep is what PostgreSQL knows of the tables of an outbox and of what keeps
// VACUUM from cleaning them. Dead rows make every look at a queue slower.
type Upkeep struct {
	// At is when it was read, by the database's clock.
	At time.Time
	// Outbox and DeadLetters are the two tables. DeadLetters is nil where there is
	// none.
	Outbox      TableUpkeep
	DeadLetters *TableUpkeep
	// Holders are what keeps dead rows from being removed right now, the oldest
	// first, up to ten. On a healthy database they are seconds old.
	Holders []Holder
	// Hidden is how many sessions of this database, and of standbys, there are
	// whose snapshots the role may not see: any of them may hold back more than
	// all Holders. It is zero for a role that has pg_read_all_stats.
	Hidden int
}

// TableUpkeep is the state of one table. Times are zero where nothing happened
// since the statistics began.
type TableUpkeep struct {
	// LiveRows and DeadRows are PostgreSQL's estimates. Dead rows wait for VACUUM.
	LiveRows, DeadRows int64
	// TableBytes is the size of the rows, with the large values beside them, and
	// IndexBytes that of all indexes. Neither shrinks when rows go, but what is
	// free in them is used again.
	TableBytes, IndexBytes int64
	// FrozenAge is the table's age in transactions: beyond 200 million, by default,
	// autovacuum freezes it.
	FrozenAge int64
	// Vacuum and Analyze are by hand, Autovacuum and Autoanalyze by the server.
	LastVacuum, LastAutovacuum, LastAnalyze, LastAutoanalyze time.Time
	// Autovacuum says that it is on, on the server and for the table.
	Autovacuum bool
}

// HolderKind says what holds VACUUM back.
type HolderKind string

const (
	// HolderSession is a session with a transaction, or a long statement. Ending
	// the transaction, or the session, helps.
	HolderSession HolderKind = "session"
	// HolderStandby is a standby with hot_standby_feedback: a long query there.
	HolderStandby HolderKind = "standby"
	// HolderSlot is a replication slot, also one whose standby is gone.
	HolderSlot HolderKind = "slot"
	// HolderPrepared is a prepared transaction of two-phase commit, which stays
	// until somebody commits it or rolls it back.
	HolderPrepared HolderKind = "prepared"
)

// Holder keeps VACUUM from removing rows that died since it took its snapshot, of
// all tables of the database. It never shows the text of a query.
type Holder struct {
	Kind HolderKind
	// Age is how many transactions ago, in the whole server, the snapshot is.
	Age int64
	// Name is the slot's name or the prepared transaction's, else empty.
	Name string
	// PID is the process of a session, of the standby's connection, or of whoever
	// uses a slot; else zero.
	PID int32
	// User and Application are empty where they do not apply, and for a slot.
	User, Application string
	// State is a session's, such as "idle in transaction", or a slot's, "active"
	// or "inactive".
	State string
	// Open is how long the transaction has been open; zero where that is not
	// known, as for a standby and for a slot.
	Open time.Duration
}

// String says who it is, in a line for people and logs.
func (h Holder) String() string {
	s := string(h.Kind)
	if h.Name != "" {
		s += fmt.Sprintf(" %q", h.Name)
	}
	if h.PID != 0 {
		s += fmt.Sprintf(" pid %d", h.PID)
	}
	if h.User != "" {
		s += fmt.Sprintf(" of %q", h.User)
	}
	if h.Application != "" {
		s += fmt.Sprintf(" (%s)", h.Application)
	}
	if h.State != "" {
		s += ", " + h.State
	}
	if h.Open > 0 {
		s += fmt.Sprintf(", open for %v", h.Open.Round(time.Millisecond))
	}
	return s + fmt.Sprintf(", %d transactions old", h.Age)
}

// mostHolders is how many are shown: there is little to do about the eleventh.
const mostHolders = 10

// Upkeep looks at what VACUUM does with the tables, and at what holds it back. It
// reads no rows, so it takes the same on a table of any size; it locks and writes
// nothing. On a pool it takes three round trips. In a transaction, PostgreSQL gives
// the numbers of the first call again. The session that asks is not among the
// holders, though it is one for as long as its transaction is open.
//
// It needs no more rights than any role has. What it may not see it says:
// [Upkeep].Hidden.
//
// Errors name the table, and wrap [ErrNoTransaction] where db is nil, [ErrNoTable],
// or what the database said. It is as safe for concurrent use as db is.
func (o Outbox) Upkeep(ctx context.Context, db Reader) (Upkeep, error) {
	t, err := o.Bind()
	if err != nil {
		return Upkeep{}, fmt.Errorf("read upkeep: %w", err)
	}
	u, err := readUpkeep(ctx, t, db)
	if err != nil {
		return Upkeep{}, fmt.Errorf("read upkeep of %s: %w", t, err)
	}
	return u, nil
}

func readUpkeep(ctx context.Context, t *postgres.Table, db Reader) (u Upkeep, err error) {
	if err := access.CheckReader(db); err != nil {
		return u, err
	}
	outbox, at, ok, err := t.Upkeep(ctx, db, false)
	switch {
	case err != nil:
		return u, access.ExplainRead(t, err)
	case !ok:
		return u, access.NoTable(t)
	}
	u.At, u.Outbox = at, newTableUpkeep(outbox)
	dead, _, ok, err := t.Upkeep(ctx, db, true)
	if err != nil {
		return u, access.ExplainRead(t, err)
	}
	if ok {
		u.DeadLetters = new(newTableUpkeep(dead))
	}
	holders, hidden, err := t.Holders(ctx, db, mostHolders)
	if err != nil {
		return u, err
	}
	u.Hidden = hidden
	for _, h := range holders {
		u.Holders = append(u.Holders, Holder{
			Kind: HolderKind(h.Kind), Age: h.Age, Name: h.Name, PID: h.PID,
			User: h.User, Application: h.Application, State: h.State, Open: h.Open,
		})
	}
	return u, nil
}

func newTableUpkeep(u postgres.Upkeep) TableUpkeep {
	return TableUpkeep{
		LiveRows: u.Live, DeadRows: u.Dead, TableBytes: u.TableBytes, IndexBytes: u.IndexBytes, FrozenAge: u.FrozenAge,
		LastVacuum: u.Vacuumed, LastAutovacuum: u.Autovacuumed, LastAnalyze: u.Analyzed, LastAutoanalyze: u.Autoanalyzed,
		Autovacuum: u.Autovacuum,
	}
}
