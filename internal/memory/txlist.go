package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// stored is a copy of the row for others.
func (r *row) stored() store.StoredTimer {
	c := r.copy()
	return store.StoredTimer{
		ID: c.ID, Queue: c.Queue, TimerID: c.TimerID, Payload: c.Payload, Headers: c.Headers,
		Due: strconv.FormatInt(c.DueAt.UnixMicro(), 10), DueAt: c.DueAt,
		CreatedAt: c.CreatedAt, ClaimedAt: c.ClaimedAt, FirstAttempt: c.FirstAttemptAt, LastAttempt: c.LastAttemptAt,
		Leased: r.held(), Attempts: c.Attempts, Deliveries: c.Deliveries,
	}
}

// ListMessages implements [store.Outbox].
func (v *View) ListMessages(ctx context.Context, queue string) (list []store.StoredTimer, now time.Time, err error) {
	err = v.do(ctx, func() bool {
		for _, r := range v.each(func(r *row) bool { return r.Queue == queue }) {
			list = append(list, r.stored())
		}
		return false
	})
	return list, v.tx.now, err
}

// ListDeadLetters implements [store.Outbox].
func (v *View) ListDeadLetters(ctx context.Context, queue string) (list []store.Letter, err error) {
	err = v.do(ctx, func() bool {
		for _, d := range v.lettersOf(store.LetterFilter{Queue: queue}) {
			list = append(list, d.stored())
		}
		return false
	})
	slices.SortFunc(list, func(a, b store.Letter) int { return cmp.Compare(a.ID, b.ID) })
	return list, err
}

// timersOf are the timers that a filter selects, by due time and id.
func (v *View) timersOf(f store.TimerFilter) []*row {
	list := v.each(func(r *row) bool {
		return r.TimerID != "" && (f.Queue == "" || r.Queue == f.Queue) && strings.HasPrefix(r.TimerID, f.Prefix) &&
			(f.Running || !r.held()) &&
			(f.DueFrom.IsZero() || !r.DueAt.Before(instant(f.DueFrom))) &&
			(f.DueBefore.IsZero() || !r.DueAt.After(instant(f.DueBefore.Add(-time.Microsecond))))
	})
	slices.SortFunc(list, func(a, b *row) int { return compareKeys(a.pendingKey(), b.pendingKey()) })
	return list
}

// ListTimers implements [store.TimerReader].
func (v *View) ListTimers(ctx context.Context, f store.TimerFilter, beyond store.TimerPlace, limit int) (list []store.StoredTimer, err error) {
	at, problem := strconv.ParseInt(beyond.Due, 10, 64)
	switch {
	case beyond == (store.TimerPlace{}) || beyond.Due == "-infinity":
	case beyond.Due == "infinity":
		return nil, nil
	case problem != nil:
		return nil, problem
	}
	err = v.do(ctx, func() bool {
		for _, r := range v.timersOf(f) {
			if len(list) == limit {
				break
			}
			if problem != nil || compareKeys(r.pendingKey(), key{at, beyond.ID}) > 0 {
				list = append(list, r.stored())
			}
		}
		return false
	})
	return list, err
}

// GetTimer implements [store.TimerReader].
func (v *View) GetTimer(ctx context.Context, queue, id string) (t *store.StoredTimer, err error) {
	err = v.do(ctx, func() bool {
		if r := v.timer(timerKey{queue, id}); r != nil {
			s := r.stored()
			t = &s
		}
		return false
	})
	return t, err
}

// CountTimers implements [store.TimerReader].
func (v *View) CountTimers(ctx context.Context, f store.TimerFilter) (c store.TimerCount, err error) {
	err = v.do(ctx, func() bool {
		for _, r := range v.timersOf(f) {
			if r.held() {
				c.Running++
				continue
			}
			c.Waiting++
			if !r.DueAt.After(v.tx.now) {
				c.Due++
			}
			if r.Attempts > 0 {
				c.Retrying++
			}
		}
		return false
	})
	return c, err
}

// NextTimer implements [store.TimerReader].
func (v *View) NextTimer(ctx context.Context, queue string) (at time.Time, err error) {
	err = v.do(ctx, func() bool {
		if list := v.timersOf(store.TimerFilter{Queue: queue}); len(list) > 0 {
			at = list[0].DueAt
		}
		return false
	})
	return at, err
}

// place is where the letter stands.
func (d *DeadLetter) place() store.Place {
	return store.Place{Known: true, FailedAt: d.FailedAt.UnixMicro(), ID: d.ID}
}

func comparePlaces(a, b store.Place) int {
	return cmp.Or(cmp.Compare(a.FailedAt, b.FailedAt), cmp.Compare(a.ID, b.ID))
}
