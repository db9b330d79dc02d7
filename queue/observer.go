package queue

import "time"

// Observer is told what a worker does, for metrics and alerts. It sees what no
// handler sees: claims that found nothing, lost leases, dead letters, the state of
// listening. Give it to [Observe]. What one call of a handler does is better seen
// by a [Middleware], and publishing by a [PublishHook].
//
// Functions that are nil are not called. Those of one Observer are called one
// after the other, on a goroutine of its own: events of one message come in
// their order, those of different messages may have happened in another. That
// goroutine takes events from a buffer of 4,096. While it is full, because a
// function is slow or blocks, new events are dropped, counted and told as
// [Dropped]; delivery waits for nobody. A function that panics is logged, once,
// and called again for the next event. When [Worker.Run] ends it waits until the
// last events are told, but no longer than 1 s.
//
// Events may get more fields. Their slices must not be changed. Outbox is the
// quoted name of a table.
type Observer struct {
	// Polled is told when the worker has looked for what no notification told of:
	// at least every poll interval while it is idle, for each queue of
	// [Queue.HandleBatchTx] and for all others together.
	Polled func(Polled)
	// Fetched is told of each claim, those that found nothing included.
	Fetched func(Fetched)
	// Dispatched is told when messages are about to be handled.
	Dispatched func(Dispatched)
	// Handled is told when messages have been handled and it is decided what
	// becomes of them, once for each outcome of a call. Outcomes of a transaction
	// of the handler's are committed then; others are written next.
	Handled func(Handled)
	// Settled is told of each write of outcomes.
	Settled func(Settled)
	// LeaseLost is told when a message may have gone to another worker, once for
	// each. What was decided about it is not written.
	LeaseLost func(LeaseLost)
	// DeadLetters is told of each write of dead letters, those that failed
	// included.
	DeadLetters func(DeadLettersWritten)
	// DrainTimedOut is told when the grace period ended while handlers ran.
	DrainTimedOut func(DrainTimedOut)
	// Listening is told when notifications begin or cease to come in, and at the
	// worker's end.
	Listening func(Listening)
	// Dropped is told how many events before the next one were dropped.
	Dropped func(Dropped)
}

// Observe has an observer told what the worker does. Several add up; each has a
// goroutine and a buffer of its own.
func Observe(o Observer) WorkerOption {
	return workerOption(func(w *workerSettings) { w.observers = append(w.observers, o) })
}

// Outcome is what was decided about a message.
type Outcome string

// Outcomes. Their texts are stable.
const (
	// Acked: it was handled, and is deleted.
	Acked Outcome = "acked"
	// Retried: the attempt failed, and another is to come.
	Retried Outcome = "retried"
	// Terminal: it failed for good, and becomes a dead letter where those are on.
	Terminal Outcome = "terminal"
	// Snoozed: the handler put it off, see [Snooze].
	Snoozed Outcome = "snoozed"
	// Discarded: the handler ended it, see [Discard].
	Discarded Outcome = "discarded"
	// Released: it goes back to the queue through no fault of its handler: the
	// worker stops, a lease or a connection was lost, or others of its batch
	// failed.
	Released Outcome = "released"
)

// Polled tells of one look at an outbox.
type Polled struct {
	Outbox string
	// Took is the round trip.
	Took time.Duration
	// Err is what the database said; the look is tried again.
	Err error
}

// Fetched tells of one claim.
type Fetched struct {
	Outbox, Queue string
	// Messages is how many were claimed, perhaps none.
	Messages int
	// Lags are how long each message had been due, by the database's clock. There
	// are none where TakenOver.
	Lags []time.Duration
	// TakenOver says that the claim was for messages whose worker died, or lost
	// them.
	TakenOver bool
	// Took is the round trip. It also wrote what a [Settled] tells.
	Took time.Duration
	// Err is what the database said; the claim is tried again.
	Err error
}

// Dispatched tells that messages are about to be handled, in one call.
type Dispatched struct {
	Outbox, Queue string
	Messages      int
}

// Handled tells of the messages of one call that had the same outcome.
type Handled struct {
	Outbox, Queue string
	Outcome       Outcome
	// Reason is that of the dead letter, where the outcome is [Terminal], such as
	// [ReasonRetryTerminal]. It comes with dead letters switched off, too.
	Reason string
	// IDs are the messages.
	IDs []int64
	// Took is how long the call took, for all its messages; for
	// [Queue.HandleBatchTx], all calls of the transaction and the commit.
	Took time.Duration
}

// Settled tells of one write of outcomes. What a handler's own transaction
// settles is not among them.
type Settled struct {
	Outbox, Queue string
	// Messages is how many outcomes were sent. [LeaseLost] tells of those that
	// found their lease gone.
	Messages int
	// Took is the round trip.
	Took time.Duration
	// Err is what the database said; the outcomes are sent again.
	Err error
}

// LeaseLost tells of one message.
type LeaseLost struct {
	Outbox, Queue string
	ID            int64
	// Settling says that the message had been handled, and its outcome found the
	// lease gone. Else its handler was running, and is cancelled, or had not begun.
	Settling bool
}

// DeadLettersWritten tells of dead letters of one reason that were written
// together.
type DeadLettersWritten struct {
	Outbox, Queue string
	// Reason is that of the dead letters, such as [ReasonRejected].
	Reason   string
	Messages int
	// Took is the round trip; zero for [Queue.HandleBatchTx], where it is part of
	// the transaction.
	Took time.Duration
	// Err is what the database said. The messages are still in their queue, and
	// it is tried again.
	Err error
}

// DrainTimedOut tells that the grace period ended while handlers ran.
type DrainTimedOut struct {
	Outbox string
	// Cancelled is how many messages were being handled; a transaction of
	// [Queue.HandleBatchTx] counts as one.
	Cancelled int
	// LeftBehind is how many of them were still being handled 2 s later.
	LeftBehind int
}

// Listening tells whether notifications come in for an outbox. Where they do not,
// the worker polls. It is not told with [NoListen].
type Listening struct {
	Outbox string
	Up     bool
	// Ended says that this is the last for this run of the worker, which has ended
	// or is about to. Up is false then.
	Ended bool
}

// Dropped tells that events were dropped, for the observer was too slow.
type Dropped struct{ Events int64 }

// event is one of the above.
type event interface {
	name() string
	wanted(*Observer) bool
	tell(*Observer)
}

func (Polled) name() string             { return "polled" }
func (Fetched) name() string            { return "fetched" }
func (Dispatched) name() string         { return "dispatched" }
func (Handled) name() string            { return "handled" }
func (Settled) name() string            { return "settled" }
func (LeaseLost) name() string          { return "lease_lost" }
func (DeadLettersWritten) name() string { return "dead_letters" }
func (DrainTimedOut) name() string      { return "drain_timed_out" }
func (Listening) name() string          { return "listening" }
func (Dropped) name() string            { return "dropped" }

func (Polled) wanted(o *Observer) bool             { return o.Polled != nil }
func (Fetched) wanted(o *Observer) bool            { return o.Fetched != nil }
func (Dispatched) wanted(o *Observer) bool         { return o.Dispatched != nil }
func (Handled) wanted(o *Observer) bool            { return o.Handled != nil }
func (Settled) wanted(o *Observer) bool            { return o.Settled != nil }
func (LeaseLost) wanted(o *Observer) bool          { return o.LeaseLost != nil }
func (DeadLettersWritten) wanted(o *Observer) bool { return o.DeadLetters != nil }
func (DrainTimedOut) wanted(o *Observer) bool      { return o.DrainTimedOut != nil }
func (Listening) wanted(o *Observer) bool          { return o.Listening != nil }
func (Dropped) wanted(o *Observer) bool            { return o.Dropped != nil }

func (e Polled) tell(o *Observer)             { o.Polled(e) }
func (e Fetched) tell(o *Observer)            { o.Fetched(e) }
func (e Dispatched) tell(o *Observer)         { o.Dispatched(e) }
func (e Handled) tell(o *Observer)            { o.Handled(e) }
func (e Settled) tell(o *Observer)            { o.Settled(e) }
func (e LeaseLost) tell(o *Observer)          { o.LeaseLost(e) }
func (e DeadLettersWritten) tell(o *Observer) { o.DeadLetters(e) }
func (e DrainTimedOut) tell(o *Observer)      { o.DrainTimedOut(e) }
func (e Listening) tell(o *Observer)          { o.Listening(e) }
func (e Dropped) tell(o *Observer)            { o.Dropped(e) }
