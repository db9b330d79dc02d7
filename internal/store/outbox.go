package store

import (
	"context"
	"time"
)

// Outbox is what publishers do to an outbox in a transaction of theirs: all of
// it takes effect if and only if that commits.
type Outbox interface {
	// Publish adds the drafts and returns their ids in order.
	Publish(ctx context.Context, drafts []Draft) ([]int64, error)
	Timers
	Replayer
	Pauser
	// ListMessages returns all messages of a queue, timers too, by id, and the time
	// by the store's clock; ListDeadLetters all its dead letters. They are for tests.
	ListMessages(ctx context.Context, queue string) (list []StoredTimer, now time.Time, err error)
	ListDeadLetters(ctx context.Context, queue string) ([]Letter, error)
}

// Pauser stops the claims of a queue, and lets them go on.
type Pauser interface {
	// Pause and Resume return false where there was nothing to change. Resume
	// tells the workers.
	Pause(ctx context.Context, queue string) (changed bool, err error)
	Resume(ctx context.Context, queue string) (changed bool, err error)
	// Paused lists the queues that are paused, by name.
	Paused(ctx context.Context) ([]Pause, error)
}

// Pause is a queue that is paused.
type Pause struct {
	Queue string
	Since time.Time
}

// Timers stores, changes and reads the timers of an outbox. Of each queue and
// timer id there is one row at most. Nothing waits for the lock on a row, except
// that who adds a timer waits for whoever is adding the same.
type Timers interface {
	// ScheduleTimer adds one timer, unless there is one of its queue and id.
	ScheduleTimer(ctx context.Context, d *Draft) (Written, error)
	// ScheduleTimers does so for many, distinct and in the order of queue and id.
	ScheduleTimers(ctx context.Context, drafts []Draft) ([]Written, error)
	// RescheduleTimer moves a timer and replaces its value, or adds it. Where the
	// answer has no ID nothing was written, because the timer Found is running or
	// locked.
	RescheduleTimer(ctx context.Context, d *Draft, r TimerRules) (Written, error)
	// CancelTimer deletes a timer that waits. Found is what was there, if
	// anything; ID is not zero if it was deleted.
	CancelTimer(ctx context.Context, queue, id string) (Written, error)
	// CancelTimers deletes the timers of a queue that wait and whose ids begin
	// with prefix, and counts those that it left.
	CancelTimers(ctx context.Context, queue, prefix string) (cancelled, left int64, err error)
	TimerReader
}

// TimerReader looks at timers and locks nothing.
type TimerReader interface {
	// ListTimers returns up to limit timers beyond a place, by due time, then id.
	ListTimers(ctx context.Context, f TimerFilter, beyond TimerPlace, limit int) ([]StoredTimer, error)
	// GetTimer reads one timer; nil: there is none.
	GetTimer(ctx context.Context, queue, id string) (*StoredTimer, error)
	// CountTimers counts the timers that match.
	CountTimers(ctx context.Context, f TimerFilter) (TimerCount, error)
	// NextTimer is when the next timer of a queue, or of all, that is not leased
	// is due; zero if there is none.
	NextTimer(ctx context.Context, queue string) (time.Time, error)
}

// Replayer moves dead letters back by their ids.
type Replayer interface {
	// Letter reads one letter, of a queue where that is not empty. Where there is
	// none it is database/sql's ErrNoRows, as pgx's wraps it.
	Letter(ctx context.Context, id int64, queue string) (Letter, error)
	// ReplayLettersByID moves the letters with these ids, each given once: those
	// of one queue where from is not empty, to their own queue where to is empty.
	// fixes is nil, or has one for each id. A letter that is in none of the
	// answer's lists is not there.
	ReplayLettersByID(ctx context.Context, ids []int64, fixes []Fix, from, to string) (Replayed, error)
}

// Letters works on the dead letters of an outbox.
type Letters interface {
	Replayer
	// LetterScope says which queues a filter is about and the highest id there is.
	LetterScope(ctx context.Context, f LetterFilter) (queues []string, last int64, err error)
	// CountLetters counts by queue and reason. queues are those of LetterScope.
	CountLetters(ctx context.Context, queues []string, f LetterFilter) ([]LetterCount, error)
	// ListLetters returns up to limit letters beyond a place: older ones, or newer
	// ones where oldestFirst says so. queues are those of LetterScope.
	ListLetters(ctx context.Context, queues []string, f LetterFilter, beyond Place, oldestFirst bool, limit int) ([]Letter, error)
	// PurgeLetters deletes up to limit letters of f.Queue beyond a place, oldest
	// first. It says where it came to, and whether it found as many as the limit:
	// then there may be more. It passes over letters that are locked.
	PurgeLetters(ctx context.Context, f LetterFilter, beyond Place, limit int) (gone int64, last Place, more bool, err error)
	// ReplayLetters moves letters back in the same way.
	ReplayLetters(ctx context.Context, f LetterFilter, beyond Place, limit int, to string) (done Replayed, last Place, more bool, err error)
}
