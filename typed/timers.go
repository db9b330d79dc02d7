package typed

import (
	"context"
	"time"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// Timer is one timer of [Queue.ScheduleBatch].
type Timer[T any] struct {
	ID string
	// At is when it is due, or else After is how long after the start of the
	// transaction, by the database's clock. Exactly one is set.
	At    time.Time
	After time.Duration
	Value T
}

// Schedule stores a timer with v that is due at the given time, unless one of this
// id is in the queue: then everything stays as it is, and the result says so. It
// is part of the transaction tx, and the result is true if and only if that
// commits. See [timers.Schedule] for what a timer is, and for the errors; where v
// cannot be encoded it is a [*codec.EncodeError]. For a message that is only to
// come later, use [Queue.Publish] with [queue.Delay].
func (q Queue[T]) Schedule(ctx context.Context, tx queue.Tx, id string, at time.Time, v T, opts ...queue.MessageOption) (timers.Result, error) {
	return timers.Schedule(ctx, tx, id, at, q.message(v, opts))
}

// ScheduleAfter is [Queue.Schedule] for a timer that is due some time after the
// start of the transaction, by the database's clock. Zero is at once; below zero
// or above [queue.MaxDelay] is [queue.ErrInvalidDelay].
func (q Queue[T]) ScheduleAfter(ctx context.Context, tx queue.Tx, id string, after time.Duration, v T, opts ...queue.MessageOption) (timers.Result, error) {
	return timers.ScheduleAfter(ctx, tx, id, after, q.message(v, opts))
}

// ScheduleBatch is [Queue.Schedule] for any number of timers in one statement, or
// a few for more than about 5,000. The results are in the order of the timers;
// where an id comes twice, the first holds and the result of the other is
// [timers.Repeated]. The options hold for each of them. Where one is wrong, none is
// stored. No timers is no error.
func (q Queue[T]) ScheduleBatch(ctx context.Context, tx queue.Tx, batch []Timer[T], opts ...queue.MessageOption) ([]timers.Result, error) {
	list := make([]timers.Timer, len(batch))
	for i, t := range batch {
		list[i] = timers.Timer{ID: t.ID, At: t.At, After: t.After, Message: q.message(t.Value, opts)}
	}
	return timers.ScheduleBatch(ctx, tx, list...)
}

// Reschedule moves the timer of this id to the given time and gives it the value
// v, in one statement; where there is none it stores one. Called again and again
// it debounces; see [timers.Keep] for throttling, [timers.MaxWait] for a bound, and
// [timers.WhenRunning] for a timer whose handler is running: by default the new one
// is stored beside it. Only [timers.Running] as the outcome means that nothing was
// stored. See [timers.Reschedule].
func (q Queue[T]) Reschedule(ctx context.Context, tx queue.Tx, id string, at time.Time, v T, opts ...timers.Option) (timers.Result, error) {
	return timers.Reschedule(ctx, tx, id, at, q.Draft(v), opts...)
}

// RescheduleAfter is [Queue.Reschedule] to some time after the start of the
// transaction, by the database's clock. Zero is at once; below zero or above
// [queue.MaxDelay] is [queue.ErrInvalidDelay].
func (q Queue[T]) RescheduleAfter(ctx context.Context, tx queue.Tx, id string, after time.Duration, v T, opts ...timers.Option) (timers.Result, error) {
	return timers.RescheduleAfter(ctx, tx, id, after, q.Draft(v), opts...)
}

// Cancel removes the timer of this id if it waits, for its time or for a retry.
// The outcome is [timers.Cancelled], [timers.Running] or [timers.Absent], and true
// if and only if tx commits. See [timers.Timers.Cancel].
func (q Queue[T]) Cancel(ctx context.Context, tx queue.Tx, id string) (timers.Result, error) {
	return timers.Of(q.bytes).Cancel(ctx, tx, id)
}

// CancelAll cancels every timer of the queue; plain messages stay. See
// [timers.Timers.CancelAll].
func (q Queue[T]) CancelAll(ctx context.Context, tx queue.Tx) (timers.CancelCount, error) {
	return timers.Of(q.bytes).CancelAll(ctx, tx)
}

// CancelPrefix cancels the timers of the queue whose ids begin with the prefix,
// which is not empty. See [timers.Timers.CancelPrefix].
func (q Queue[T]) CancelPrefix(ctx context.Context, tx queue.Tx, prefix string) (timers.CancelCount, error) {
	return timers.Of(q.bytes).CancelPrefix(ctx, tx, prefix)
}

// Recur makes recurring work, as an option of a worker: at each tick the value of
// the tick comes into the queue as a message, once, however many workers have the
// option. The work is what the queue's handler does. value may be called more than
// once for a tick. See [timers.Recur].
//
//	w, err := queue.NewWorker(pool,
//		Reports.Handle(svc.Report),
//		Reports.Recur("nightly", timers.Cron("30 2 * * *", "Europe/Berlin"), func(t timers.Tick) Report {
//			return Report{Day: t.At}
//		}))
func (q Queue[T]) Recur(id string, every timers.Recurrence, value func(timers.Tick) T, opts ...timers.RecurOption) queue.WorkerOption {
	if value == nil {
		return timers.Recur(q.bytes, id, every, nil, opts...) // refused by NewWorker
	}
	return timers.Recur(q.bytes, id, every, func(t timers.Tick) queue.Draft { return q.Draft(value(t)) }, opts...)
}

// message is v as a draft.
func (q Queue[T]) message(v T, opts []queue.MessageOption) queue.Draft {
	publish := make([]queue.PublishOption, len(opts))
	for i, o := range opts {
		publish[i] = o
	}
	return q.Draft(v, publish...)
}

// Timers are the live timers of a queue, with values. It is an immutable value
// without a connection, and safe for concurrent use. Make it with [Queue.Timers].
type Timers[T any] struct{ queue Queue[T] }

// Timers names the queue's timers, to look at them.
func (q Queue[T]) Timers() Timers[T] { return Timers[T]{q} }

// Live is a timer that is in the table, with its value.
type Live[T any] struct {
	timers.Live
	// Value is the decoded payload, and Err why it does not decode; then Value
	// is what the codec left.
	Value T
	Err   error
}

// Bytes are the same timers without values.
func (t Timers[T]) Bytes() timers.Timers { return timers.Of(t.queue.bytes) }

// List returns the timers that the filter selects, a page of them, by due time,
// then by id. A payload that does not decode is an error of its row alone. See
// [timers.Timers.List].
func (t Timers[T]) List(ctx context.Context, db timers.DB, f timers.Filter, p timers.Page) ([]Live[T], error) {
	rows, err := t.Bytes().List(ctx, db, f, p)
	if err != nil {
		return nil, err
	}
	list := make([]Live[T], len(rows))
	for i := range rows {
		list[i] = t.lift(rows[i])
	}
	return list, nil
}

// Get reads one timer, waiting or running; false: there is none.
func (t Timers[T]) Get(ctx context.Context, db timers.DB, id string) (Live[T], bool, error) {
	row, ok, err := t.Bytes().Get(ctx, db, id)
	if err != nil || !ok {
		return Live[T]{}, false, err
	}
	return t.lift(row), true, nil
}

// Count counts the timers that the filter selects. See [timers.Timers.Count].
func (t Timers[T]) Count(ctx context.Context, db timers.DB, f timers.Filter) (timers.Counts, error) {
	return t.Bytes().Count(ctx, db, f)
}

// NextDue is when the first of the timers that wait is due; false: none waits.
func (t Timers[T]) NextDue(ctx context.Context, db timers.DB) (time.Time, bool, error) {
	return t.Bytes().NextDue(ctx, db)
}

// lift decodes one row.
func (t Timers[T]) lift(row timers.Live) Live[T] {
	v, err := t.queue.codecs.Decode(row.ContentType(), row.Payload)
	return Live[T]{Live: row, Value: v, Err: err}
}
