package timers

import (
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Outcome says what a call did about one timer.
type Outcome uint8

const (
	// Scheduled: there was no such timer, and now it is stored.
	Scheduled Outcome = iota + 1
	// AlreadyThere: Schedule found the timer, waiting or running, and left it
	// alone. Existing is what is there.
	AlreadyThere
	// Repeated: a batch has the id for a second time, and the first holds. ID
	// and DueAt are those of the first, whatever became of that.
	Repeated
	// Rescheduled: the timer that was waiting has the new message, and the due
	// time that [Keep] says. Existing is what it was; ID is the same.
	Rescheduled
	// Rearmed: the timer is running, or its worker has died, and a new one is
	// stored beside it. Existing is the one that runs; see [Rearm].
	Rearmed
	// Running: nothing was written, because the timer is running (Existing is
	// leased), or because another transaction has it locked (it is not).
	Running
	// Cancelled: the timer was waiting and is gone. Existing is what it was.
	Cancelled
	// Absent: there is no such timer to cancel.
	Absent
)

var outcomes = [...]string{"none", "scheduled", "already there", "repeated", "rescheduled", "rearmed", "running", "cancelled", "absent"}

// String is the outcome in words.
func (o Outcome) String() string {
	if int(o) < len(outcomes) {
		return outcomes[o]
	}
	return fmt.Sprintf("outcome %d", o)
}

// Result says what a call did about one timer. It is true if and only if the
// transaction commits.
type Result struct {
	Outcome Outcome
	// ID is the id of the message that bears the timer's id: the one that was
	// stored or, where none was, the one that is there. After Cancelled it is the
	// one that is gone, after Absent zero.
	ID int64
	// DueAt is when that message is due, by the database's clock.
	DueAt time.Time
	// Existing is what the call found, and the zero Existing where there was
	// nothing.
	Existing Existing
}

// Stored reports whether the call's message is in the table: a run with it is to
// come.
func (r Result) Stored() bool {
	return r.Outcome == Scheduled || r.Outcome == Rescheduled || r.Outcome == Rearmed
}

// stored is the id of the message where it was stored, else zero.
func (r Result) stored() int64 {
	if r.Stored() {
		return r.ID
	}
	return 0
}

// Existing is a timer as a call found it.
type Existing struct {
	// ID is the message's id.
	ID int64
	// DueAt is when it is, or was, due. It is the zero time where the table
	// holds an infinity, which others may write.
	DueAt time.Time
	// Leased says that a worker has claimed it: its handler runs, or is about
	// to, or its worker has died and another will take it over. A transactional
	// batch locks its messages without a lease.
	Leased bool
	// Attempts is how many runs of it have failed. Above zero and not Leased, it
	// waits for a retry.
	Attempts int64
}

func existing(t *store.Timer) Existing {
	if t == nil {
		return Existing{}
	}
	return Existing(*t)
}

// result reads what was written. found is the outcome where nothing was.
func result(w store.Written, found Outcome) Result {
	r := Result{Outcome: found, ID: w.ID, DueAt: w.DueAt, Existing: existing(w.Found)}
	switch {
	case w.ID == 0:
		r.ID, r.DueAt = r.Existing.ID, r.Existing.DueAt
	case w.Parted:
		r.Outcome = Rearmed
	case w.Found != nil:
		r.Outcome = Rescheduled
	default:
		r.Outcome = Scheduled
	}
	return r
}
