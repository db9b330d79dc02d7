package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// View is a store as a transaction sees it, and changes it.
type View struct {
	tx *Tx
	s  *Store
	work
}

var (
	_ store.Outbox  = (*View)(nil)
	_ store.Letters = (*View)(nil)
)

// work is what a transaction has done to one store. Rows and letters in it are
// not changed any more, only replaced; nil is one that was deleted.
type work struct {
	rows      map[int64]*row
	letters   map[int64]*DeadLetter
	timers    map[timerKey]int64 // those of rows
	locks     map[int64]bool
	deadLocks map[int64]bool
	adding    map[timerKey]bool
	told      []string // queues
	// published is what the transaction published or moved; nil is cancelled.
	published map[int64]*row
	paused    map[string]time.Time // queues; zero is one that goes on
}

type timerKey struct{ queue, id string }

func (w work) clone() work {
	return work{
		rows: maps.Clone(w.rows), letters: maps.Clone(w.letters), timers: maps.Clone(w.timers),
		locks: maps.Clone(w.locks), deadLocks: maps.Clone(w.deadLocks), adding: maps.Clone(w.adding),
		told: slices.Clone(w.told), published: maps.Clone(w.published), paused: maps.Clone(w.paused),
	}
}

func newWork() work {
	return work{
		rows: map[int64]*row{}, letters: map[int64]*DeadLetter{}, timers: map[timerKey]int64{},
		locks: map[int64]bool{}, deadLocks: map[int64]bool{}, adding: map[timerKey]bool{}, published: map[int64]*row{},
		paused: map[string]time.Time{},
	}
}

// release lets go what the view has locked and back has not. The caller holds the
// lock.
func (v *View) release(back work) {
	for id := range v.locks {
		if !back.locks[id] {
			delete(v.s.locks, id)
		}
	}
	for id := range v.deadLocks {
		if !back.deadLocks[id] {
			delete(v.s.deadLocks, id)
		}
	}
	for k := range v.adding {
		if !back.adding[k] {
			delete(v.s.adding, k)
		}
	}
}

// do calls f under the lock, and again, whenever a transaction has let something
// go, as long as f says that it has to wait for another.
func (v *View) do(ctx context.Context, f func() (wait bool)) error {
	return v.s.whenFree(ctx, func() (bool, error) {
		if v.tx.over {
			return false, v.tx.closed
		}
		return f(), nil
	})
}

// row is a row as the transaction sees it; nil: there is none. This and what
// follows is called under the lock.
func (v *View) row(id int64) *row {
	if r, wrote := v.rows[id]; wrote {
		return r
	}
	return v.s.rows[id]
}

// timer is the row of a timer, likewise.
func (v *View) timer(k timerKey) *row {
	if id, ours := v.timers[k]; ours {
		return v.rows[id]
	}
	if q := v.s.queues[k.queue]; q != nil {
		if id, there := q.timers[k.id]; there {
			if _, wrote := v.rows[id]; !wrote {
				return v.s.rows[id]
			}
		}
	}
	return nil
}

// each are all rows that match, by id.
func (v *View) each(match func(*row) bool) (found []*row) {
	for id, r := range v.s.rows {
		if _, wrote := v.rows[id]; !wrote && match(r) {
			found = append(found, r)
		}
	}
	for _, r := range v.rows {
		if r != nil && match(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *row) int { return int(a.ID - b.ID) })
	return found
}

// free says whether no other transaction has locked the row.
func (v *View) free(id int64) bool { return v.s.locks[id] == nil || v.s.locks[id] == v.tx }

func (v *View) lock(id int64) { v.s.locks[id], v.locks[id] = v.tx, true }

// write replaces a row that is free; nil deletes it.
func (v *View) write(id int64, r *row) {
	v.lock(id)
	if was := v.rows[id]; was != nil && was.TimerID != "" {
		delete(v.timers, timerKey{was.Queue, was.TimerID})
	}
	v.rows[id] = r
	if r != nil && r.TimerID != "" {
		v.timers[timerKey{r.Queue, r.TimerID}] = id
	}
}

// taken says whether a timer cannot be added before another transaction, which is
// adding it, has ended.
func (v *View) taken(k timerKey) bool { return v.s.adding[k] != nil && v.s.adding[k] != v.tx }

// add adds a row of the draft, or with the time that a timer has.
func (v *View) add(d *store.Draft, due time.Time) *row {
	v.s.lastID++
	r := newRow(v.s.lastID, d, v.tx.now, due)
	v.write(r.ID, r)
	v.published[r.ID] = r
	if r.TimerID != "" {
		k := timerKey{r.Queue, r.TimerID}
		v.s.adding[k], v.adding[k] = v.tx, true
	}
	v.tell(r.Queue)
	return r
}

func (v *View) tell(queue string) {
	if !slices.Contains(v.told, queue) {
		v.told = append(v.told, queue)
	}
}
