package timers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

// Tick is one instant of a [Recurrence].
type Tick struct {
	// At is the tick, in the zone of the recurrence.
	At time.Time
	// First is the earliest tick that this one stands for: At itself, unless
	// ticks were missed and coalesced.
	First time.Time
}

// RecurOption changes recurring work.
type RecurOption interface{ applyRecur(*recurring) }

type recurOption func(*recurring)

func (o recurOption) applyRecur(r *recurring) { o(r) }

// CatchUp has every tick that was missed, because no worker ran or the database
// was away, made up for, one after the other. Default: they are coalesced into the
// latest of them, and [Tick].First tells.
func CatchUp() RecurOption { return recurOption(func(r *recurring) { r.catchUp = true }) }

// OneAtATime passes over a tick while the message of the one before is still there:
// waiting, running, or waiting for a retry. The messages are timers then, with the
// id of the recurring work. Default: each tick has its message, and a slow handler
// may be running several.
func OneAtATime() RecurOption { return recurOption(func(r *recurring) { r.alone = true }) }

// Recur makes recurring work, as an option of a worker: at each tick of the
// recurrence a message comes into its queue, once, however many workers have the
// option. What the work is, is up to the handler of that queue, as for any message:
// whether it is retried, and what becomes of it.
//
//	w, err := queue.NewWorker(pool,
//		reports.Handle(report),
//		timers.Recur(reports, "nightly", timers.Cron("30 2 * * *", "Europe/Berlin"), func(t timers.Tick) queue.Draft {
//			return reports.Draft(payload(t.At))
//		}))
//
// The tick itself is a timer in a queue of its own, which the option handles: q's
// name, ".ticks." and the id. It is stored when a worker starts and finds none; and
// when it is due, the message, the next timer and the end of this one are one
// commit. So a tick is lost or doubled only if that commit is. Time is the
// database's.
//
// message is called in the transaction that stores the message, perhaps more than
// once for a tick; it should do nothing else. The draft need not be q's, but its
// table must be in the same database.
//
// Where the recurrence is changed, the first worker that starts with the new one
// moves the timer. While workers of both versions run, ticks of both may come. To
// end recurring work for good, remove the option and cancel the timer:
// CancelAll of the timers of the queue of ticks.
//
// A bad recurrence, id or queue is reported by [queue.NewWorker].
func Recur(q queue.Queue, id string, every Recurrence, message func(Tick) queue.Draft, opts ...RecurOption) queue.WorkerOption {
	r := &recurring{
		id: id, every: every, message: message,
		ticks: queue.New(q.Name() + ".ticks." + id).In(q.Outbox()),
	}
	if err := r.check(q); err != nil {
		return queue.BadOption(fmt.Errorf("recurring work %.40q of queue %.40q: %w", id, q.Name(), err))
	}
	for _, o := range opts {
		if o == nil {
			return queue.BadOption(fmt.Errorf("recurring work %.40q of queue %.40q: %w: an option is nil", id, q.Name(), ErrInvalid))
		}
		o.applyRecur(r)
	}
	return queue.Options{
		// Whatever the worker's defaults are: nothing but success ends a tick.
		r.ticks.HandleTx(r.tick, queue.Concurrency(1), queue.Prefetch(0), queue.Acknowledge(queue.RetryOnError), queue.MaxDeliveries(0),
			queue.Retry(retry.Exponential{MaxDelay: time.Minute, MaxAttempts: retry.Unlimited})),
		queue.Beside("start "+r.ticks.Name(), true, r.start),
	}
}

// recurring is recurring work.
type recurring struct {
	id      string
	every   Recurrence
	message func(Tick) queue.Draft
	ticks   queue.Queue
	catchUp bool
	alone   bool
}

func (r *recurring) check(q queue.Queue) error {
	if err := q.Err(); err != nil {
		return err
	}
	if err := checkID(r.id); err != nil {
		return err
	}
	if err := r.ticks.Err(); err != nil {
		return err
	}
	if err := r.every.Err(); err != nil {
		return err
	}
	if r.message == nil {
		return fmt.Errorf("%w: the function that makes the message is nil", ErrInvalid)
	}
	return nil
}

// state is the payload of a tick's timer.
type state struct {
	At    time.Time `json:"at"`
	Every string    `json:"every"`
}

// timer is the draft of the timer for a tick.
func (r *recurring) timer(at time.Time) queue.Draft {
	payload, err := json.Marshal(state{At: at, Every: r.every.String()})
	if err != nil { // a year beyond 9999
		return r.ticks.BadDraft(err)
	}
	return r.ticks.Draft(payload, queue.ContentType("application/json"))
}

// start stores the timer of the next tick where there is none, and moves one that
// follows another recurrence.
func (r *recurring) start(ctx context.Context, db access.Pool, log *slog.Logger) error {
	for again := true; again; {
		err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) (err error) {
			again, err = r.set(ctx, tx, log)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// set is one look of start; again says that another worker came first.
func (r *recurring) set(ctx context.Context, tx pgx.Tx, log *slog.Logger) (again bool, err error) {
	there, ok, err := Of(r.ticks).Get(ctx, tx, r.id)
	if err != nil {
		return false, err
	}
	var s state
	if ok && json.Unmarshal(there.Payload, &s) == nil && s.Every == r.every.String() {
		return false, nil
	}
	now, err := access.Now(ctx, tx)
	if err != nil {
		return false, err
	}
	next := r.every.Next(now)
	var res Result
	if ok {
		res, err = Reschedule(ctx, tx, r.id, next, r.timer(next))
	} else if res, err = Schedule(ctx, tx, r.id, next, r.timer(next)); err == nil && res.Outcome == AlreadyThere {
		// Its tick may be over by now, and next with it: to move the timer there would bring the tick again.
		return true, nil
	}
	if err == nil && !res.Stored() {
		err = fmt.Errorf("the timer is %v", res.Outcome) // somebody else sets it: look again
	}
	if err == nil {
		log.Info("recurring work is set", slog.String("queue", r.ticks.Name()), slog.String("recurrence", r.every.String()), slog.Time("next", next))
	}
	return false, err
}

// tick is the handler of the timer.
func (r *recurring) tick(ctx context.Context, tx pgx.Tx, d *queue.Delivery) error {
	now := d.ClaimedAt // the database's
	var s state
	if json.Unmarshal(d.Payload, &s) != nil || s.At.IsZero() {
		s.At = d.DueAt // of a writer that is not us; better late than a dead letter
	}
	first := s.At.In(r.every.Next(now).Location())
	t := Tick{At: first, First: first}
	if !r.catchUp {
		t.At = r.every.latest(first, now)
	}
	if err := r.publish(ctx, tx, t); err != nil {
		return err
	}
	next := r.every.Next(t.At) // in the future, unless ticks are made up for
	if next.IsZero() {
		return nil // it never fires again
	}
	res, err := Reschedule(ctx, tx, r.id, next, r.timer(next))
	if err == nil && !res.Stored() {
		err = fmt.Errorf("the next tick could not be stored: the timer is %v", res.Outcome)
	}
	return err
}

// publish writes the message of a tick.
func (r *recurring) publish(ctx context.Context, tx pgx.Tx, t Tick) error {
	m := r.message(t)
	if !r.alone {
		_, err := queue.Publish(ctx, tx, m)
		return err
	}
	_, err := ScheduleAfter(ctx, tx, r.id, 0, m)
	return err
}
