package memory

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Publish implements [store.Outbox].
func (v *View) Publish(ctx context.Context, drafts []store.Draft) (ids []int64, err error) {
	if err := checkHeaders(drafts); err != nil {
		return nil, err
	}
	err = v.do(ctx, func() bool {
		for i := range drafts {
			ids = append(ids, v.add(&drafts[i], dueAt(&drafts[i], v.tx.now)).ID)
		}
		return false
	})
	return ids, err
}

// patience is how long, in all, a call on one timer waits for who has it locked: a
// claim or a short transaction is over by then, a handler that holds the row is
// not waited for.
const patience = 31 * time.Millisecond

// patiently is [View.do] for calls that make do with a row that stays locked: f is
// told when there is no more waiting.
func (v *View) patiently(ctx context.Context, f func(last bool) (wait bool)) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := v.do(limited, func() bool { return f(false) })
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return v.do(ctx, func() bool { return f(true) })
}

// timerDue is when a timer is due: a time in the past is now.
func (v *View) timerDue(d *store.Draft) time.Time {
	if due := dueAt(d, v.tx.now); due.After(v.tx.now) {
		return due
	}
	return v.tx.now
}

func found(r *row) *store.Timer {
	return &store.Timer{ID: r.ID, DueAt: r.DueAt, Leased: r.held(), Attempts: r.Attempts}
}

// ScheduleTimer implements [store.Timers].
func (v *View) ScheduleTimer(ctx context.Context, d *store.Draft) (w store.Written, err error) {
	if err := checkHeaders([]store.Draft{*d}); err != nil {
		return w, err
	}
	err = v.do(ctx, func() bool { return v.schedule(d, &w) })
	return w, err
}

func (v *View) schedule(d *store.Draft, w *store.Written) (wait bool) {
	k := timerKey{d.Queue, d.TimerID}
	if r := v.timer(k); r != nil {
		w.Found = found(r)
		return false
	}
	if v.taken(k) {
		return true
	}
	r := v.add(d, v.timerDue(d))
	w.ID, w.DueAt = r.ID, r.DueAt
	return false
}

// ScheduleTimers implements [store.Timers].
func (v *View) ScheduleTimers(ctx context.Context, drafts []store.Draft) ([]store.Written, error) {
	if err := checkHeaders(drafts); err != nil {
		return nil, err
	}
	out := make([]store.Written, len(drafts))
	next := 0
	err := v.do(ctx, func() bool {
		for ; next < len(drafts); next++ {
			if v.schedule(&drafts[next], &out[next]) {
				return true
			}
		}
		return false
	})
	return out, err
}

// RescheduleTimer implements [store.Timers].
func (v *View) RescheduleTimer(ctx context.Context, d *store.Draft, rules store.TimerRules) (w store.Written, err error) {
	if err := checkHeaders([]store.Draft{*d}); err != nil {
		return w, err
	}
	k := timerKey{d.Queue, d.TimerID}
	err = v.patiently(ctx, func(last bool) bool {
		r := v.timer(k)
		switch {
		case r == nil && v.taken(k):
			return true // however long
		case r == nil:
			added := v.add(d, v.timerDue(d))
			w.ID, w.DueAt = added.ID, added.DueAt
		case r.held() && rules.Refuse:
			w.Found = found(r)
		case !v.free(r.ID):
			w.Found = found(r)
			return !last
		case r.held():
			w = v.rearm(r, d)
		default:
			w = v.move(r, d, rules)
		}
		return false
	})
	return w, err
}

// rearm takes the timer id from the row that is running, and gives it to a new one.
func (v *View) rearm(r *row, d *store.Draft) store.Written {
	w := store.Written{Found: found(r), Parted: true}
	parted := *r
	parted.TimerID = ""
	v.write(r.ID, &parted)
	added := v.add(d, v.timerDue(d))
	w.ID, w.DueAt = added.ID, added.DueAt
	return w
}

// move changes the row that waits. One that waits for a retry has had its time: it
// counts as new.
func (v *View) move(r *row, d *store.Draft, rules store.TimerRules) store.Written {
	w := store.Written{Found: found(r)}
	next := newRow(r.ID, d, r.CreatedAt, v.timerDue(d))
	if r.Attempts > 0 {
		next.CreatedAt = v.tx.now
	}
	if rules.Keep == store.KeepEarliest && r.DueAt.Before(next.DueAt) || rules.Keep == store.KeepLatest && r.DueAt.After(next.DueAt) {
		next.DueAt = r.DueAt
	}
	if rules.MaxWait > 0 {
		latest := instant(next.CreatedAt.Add(rules.MaxWait))
		if latest.Before(v.tx.now) {
			latest = v.tx.now
		}
		if latest.Before(next.DueAt) {
			next.DueAt = latest
		}
	}
	v.write(r.ID, next)
	v.published[r.ID] = next
	v.tell(r.Queue)
	w.ID, w.DueAt = r.ID, next.DueAt
	return w
}

// CancelTimer implements [store.Timers].
func (v *View) CancelTimer(ctx context.Context, queue, id string) (w store.Written, err error) {
	err = v.patiently(ctx, func(last bool) bool {
		w = store.Written{}
		r := v.timer(timerKey{queue, id})
		if r == nil {
			return false
		}
		w.Found = found(r)
		switch {
		case r.held():
		case !v.free(r.ID):
			return !last
		default:
			w.ID = r.ID
			v.write(r.ID, nil)
			v.published[r.ID] = nil
		}
		return false
	})
	return w, err
}

// CancelTimers implements [store.Timers].
func (v *View) CancelTimers(ctx context.Context, queue, prefix string) (cancelled, left int64, err error) {
	err = v.do(ctx, func() bool {
		for _, r := range v.each(func(r *row) bool {
			return r.Queue == queue && r.TimerID != "" && strings.HasPrefix(r.TimerID, prefix)
		}) {
			if r.held() || !v.free(r.ID) {
				left++
				continue
			}
			v.write(r.ID, nil)
			v.published[r.ID] = nil
			cancelled++
		}
		return false
	})
	return cancelled, left, err
}
