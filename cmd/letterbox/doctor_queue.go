package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

// late is how long a message may be due before somebody should look: longer than a worker's poll interval.
const late = time.Minute

// queues looks at all queues, or at one, and at its workers.
func (d *doctor) queues(ctx context.Context, name string) error {
	opts := queue.StatsOptions{Lease: d.lease}
	if name != "" {
		opts.Queues = []string{name}
	}
	stats, err := d.outbox.Stats(ctx, d.pool, opts)
	if err != nil {
		return err
	}
	paused, err := d.outbox.Paused(ctx, d.pool)
	if err != nil {
		return err
	}
	rests := warning
	if name != "" { // this is why nothing of it runs
		rests = problem
	}
	for _, p := range paused {
		if name == "" || name == p.Queue {
			d.add("queue", rests, p.Queue, fmt.Sprintf("letterbox resume %q", p.Queue), "it is paused, since %s: no worker gets its messages", clock(p.Since))
		}
	}
	for i := range stats.Queues {
		q := &stats.Queues[i]
		is := slices.ContainsFunc(paused, func(p queue.Pause) bool { return p.Queue == q.Queue })
		if err := d.queue(ctx, q, is, name != ""); err != nil {
			return err
		}
	}
	switch {
	case name == "" && len(stats.Queues) == 0:
		d.add("queue", fine, "", "", "no queue holds anything")
	case name == "" && stats.MoreQueues:
		d.add("queue", warning, "", "look at one with --queue", "there are more queues than were looked at")
	}
	if stats.DeadErr != nil {
		d.add("queue", warning, "", "", "dead letters were not counted: %v", stats.DeadErr)
	}
	return nil
}

// queue looks at one queue. Where it was named, all that is known is said.
func (d *doctor) queue(ctx context.Context, q *queue.QueueStats, paused, named bool) error {
	asleep, err := d.table.Asleep(ctx, d.pool, q.Queue)
	if err != nil {
		return err
	}
	alive := q.Leased.N - q.Expired.N
	before := len(d.found)
	switch seen := asleep > 0 || alive > 0; {
	case paused || q.OldestDue < late:
	case !seen:
		d.add("queue", problem, q.Queue, "start a worker for it; if one runs, look at its log and its Health",
			"%v due, the first for %s, and no worker is seen", q.Due, span(q.OldestDue))
	case alive == 0:
		d.add("queue", problem, q.Queue, "look at the log of the workers, and at their connections: something keeps them from claiming",
			"%v due, the first for %s, though %s asleep", q.Due, span(q.OldestDue), workers(asleep))
	default:
		d.add("queue", warning, q.Queue, "start more workers, or give them more Concurrency, if it goes on",
			"%v due, the first for %s: the workers, which have %d messages, do not keep up", q.Due, span(q.OldestDue), alive)
	}
	if q.Expired.N > 0 {
		d.add("queue", warning, q.Queue, "a worker takes them over at its next poll; look why their worker died, or was cut off",
			"leases that have expired: %v, the oldest %s ago", q.Expired, span(q.OldestLease-d.lease))
	}
	if q.Dead.N > 0 {
		d.add("queue", warning, q.Queue, fmt.Sprintf("letterbox dlq list --queue %q", q.Queue), "dead letters: %v", q.Dead)
	}
	if named || len(d.found) == before {
		d.add("queue", fine, q.Queue, "", "%v due, %v leased, %v scheduled, %v retrying, %v dead", q.Due, q.Leased, q.Scheduled, q.Retrying, q.Dead)
	}
	if !named {
		return nil
	}
	if asleep == 0 && alive == 0 {
		d.add("workers", warning, q.Queue, "see whether one runs: one that polls, or holds locks instead of leases, cannot be seen", "none is seen")
	} else {
		d.add("workers", fine, q.Queue, "", "%s asleep, to be woken by a publish; %d messages are with workers", workers(asleep), alive)
	}
	err = d.known(ctx, d.pool, q.Queue)
	if strange, is := errors.AsType[unknownQueue](err); is {
		d.add("queue", problem, q.Queue, "see 'letterbox status' for the queues that hold something, if the name may be wrong", "%v", strange)
		return nil
	}
	return err
}

func workers(n int) string {
	if n == 1 {
		return "1 worker is"
	}
	return fmt.Sprintf("%d workers are", n)
}

// message looks at one message, and returns its queue; empty if it is not there any more.
func (d *doctor) message(ctx context.Context, name string, id int64) (string, error) {
	in, ok, err := d.table.QueueOf(ctx, d.pool, id)
	if err != nil {
		return "", fmt.Errorf("look for message %d: %w", id, err)
	}
	if !ok {
		return "", d.gone(ctx, id)
	}
	if name != "" && name != in {
		d.add("message", problem, in, "", "message %d is in this queue, not in %q", id, name)
	}
	m, ok, err := queue.New(in).In(d.outbox).PeekID(ctx, d.pool, id)
	switch {
	case errors.Is(err, queue.ErrInvalidName): // the mark of a queue that is paused
		d.add("message", problem, "", "", "row %d is no message: it marks a queue that is paused", id)
		return "", nil
	case err != nil:
		return "", err
	case !ok: // it was handled just now
		return "", d.gone(ctx, id)
	}
	d.waits(m)
	return in, nil
}

// waits says what a message waits for. Why nobody takes one that is due, the checks of its queue say.
func (d *doctor) waits(m queue.Peeked) {
	now := time.Now().Add(d.ahead) // by the database's clock
	failures := ""
	if m.Attempts > 0 {
		failures = fmt.Sprintf("; it has failed %s, last at %s", times(m.Attempts), clock(m.LastAttemptAt))
	}
	switch {
	case m.State == queue.StateLeased && now.Sub(m.LeasedAt) > d.lease:
		d.add("message", warning, m.Queue, "", "message %d is with a worker that last said so %s ago, and may be dead: another takes it over (delivery %d)%s",
			m.ID, span(now.Sub(m.LeasedAt)), m.Deliveries, failures)
	case m.State == queue.StateLeased:
		d.add("message", fine, m.Queue, "", "message %d is with a worker, which last said so %s ago (delivery %d)%s", m.ID, span(now.Sub(m.LeasedAt)), m.Deliveries, failures)
	case m.State == queue.StateDue:
		result := fine
		if now.Sub(m.DueAt) > late {
			result = problem
		}
		d.add("message", result, m.Queue, "", "message %d has been due for %s%s", m.ID, span(now.Sub(m.DueAt)), failures)
	case m.DueAt.IsZero():
		d.add("message", problem, m.Queue, "", "message %d is never due: its time is infinity%s", m.ID, failures)
	case m.State == queue.StateRetrying:
		d.add("message", warning, m.Queue, "look at the log of the workers for why it failed", "message %d waits for its next attempt, in %s, at %s%s",
			m.ID, span(m.DueAt.Sub(now)), clock(m.DueAt), failures)
	default:
		d.add("message", fine, m.Queue, "", "message %d waits for its time, in %s, at %s", m.ID, span(m.DueAt.Sub(now)), clock(m.DueAt))
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// gone says what became of a message that is not in the queue.
func (d *doctor) gone(ctx context.Context, id int64) error {
	died, ok, err := d.table.DiedAs(ctx, d.pool, id)
	if err != nil {
		return fmt.Errorf("look for message %d among the dead letters: %w", id, err)
	}
	if ok {
		d.add("message", problem, died.Queue, fmt.Sprintf("letterbox dlq show %d; then letterbox dlq replay --id %d", died.Letter, died.Letter),
			"message %d failed for good at %s (%s), and is dead letter %d", id, clock(died.At), died.Reason, died.Letter)
		return nil
	}
	d.add("message", problem, "", "", "there is no message %d: it was handled, or cancelled, or its transaction is not committed, or it never was", id)
	return nil
}
