package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Tx is a transaction: what is done through its views takes effect at the commit,
// and nobody else sees it before. Rows that it has changed are locked until it
// ends, and others pass over them, as they do in PostgreSQL. It is read committed.
// Use [Store.Begin]; it is not for concurrent use.
type Tx struct {
	db     *database
	now    time.Time
	closed error
	over   bool
	views  []*View // in the order of their first use
	kept   Savepoint
}

// Begin starts a transaction over the store and those beside it. closed is what
// its views return once it has ended.
func (s *Store) Begin(closed error) *Tx {
	return &Tx{db: s.database, now: s.Now(), closed: closed}
}

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
}

type timerKey struct{ queue, id string }

func (w work) clone() work {
	return work{
		rows: maps.Clone(w.rows), letters: maps.Clone(w.letters), timers: maps.Clone(w.timers),
		locks: maps.Clone(w.locks), deadLocks: maps.Clone(w.deadLocks), adding: maps.Clone(w.adding),
		told: slices.Clone(w.told), published: maps.Clone(w.published),
	}
}

func newWork() work {
	return work{
		rows: map[int64]*row{}, letters: map[int64]*DeadLetter{}, timers: map[timerKey]int64{},
		locks: map[int64]bool{}, deadLocks: map[int64]bool{}, adding: map[timerKey]bool{}, published: map[int64]*row{},
	}
}

// In is the view of one of the stores that the transaction spans.
func (tx *Tx) In(s *Store) *View {
	for _, v := range tx.views {
		if v.s == s {
			return v
		}
	}
	v := &View{tx: tx, s: s, work: newWork()}
	tx.views = append(tx.views, v)
	return v
}

// Savepoint is what a transaction can be rolled back to.
type Savepoint struct{ works []work }

// Savepoint remembers what has been done so far.
func (tx *Tx) Savepoint() Savepoint {
	var p Savepoint
	for _, v := range tx.views {
		p.works = append(p.works, v.clone())
	}
	return p
}

// RollbackTo undoes what was done since, and lets go what was locked since.
func (tx *Tx) RollbackTo(p Savepoint) {
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	for i, v := range tx.views {
		back := newWork()
		if i < len(p.works) {
			back = p.works[i].clone()
		}
		v.release(back)
		v.work = back
	}
	tx.db.letGo()
}

// Commit makes all of it true at once, and then tells the listeners. A second end
// of a transaction is the error that [Store.Begin] was given.
func (tx *Tx) Commit() error {
	return tx.end(func(v *View) {
		for _, id := range slices.Sorted(maps.Keys(v.rows)) {
			if was := v.s.rows[id]; was != nil {
				v.s.remove(v.s.queue(was.Queue), was)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(v.rows)) {
			if r := v.rows[id]; r != nil {
				v.s.put(r)
			}
		}
		for id, r := range v.published {
			if v.s.published[id] = r; r == nil {
				delete(v.s.published, id)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(v.letters)) {
			at, there := slices.BinarySearchFunc(v.s.dead, id, func(d *DeadLetter, id int64) int { return int(d.ID - id) })
			switch l := v.letters[id]; {
			case l == nil && there:
				v.s.dead = slices.Delete(v.s.dead, at, at+1)
			case l != nil && !there:
				v.s.dead = slices.Insert(v.s.dead, at, l)
			}
		}
	})
}

// Rollback undoes all of it.
func (tx *Tx) Rollback() error { return tx.end(nil) }

func (tx *Tx) end(apply func(*View)) error {
	tx.db.mu.Lock()
	if tx.over {
		tx.db.mu.Unlock()
		return tx.closed
	}
	tx.over = true
	for _, v := range tx.views {
		if apply != nil {
			apply(v)
		}
		v.release(work{})
	}
	tx.db.letGo()
	tx.db.mu.Unlock()
	if apply == nil {
		return nil
	}
	for _, v := range tx.views {
		v.s.wake(v.told)
	}
	return nil
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

// letGo wakes all that wait for another transaction. The caller holds the lock.
func (d *database) letGo() {
	close(d.ended)
	d.ended = make(chan struct{})
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

func (d *database) whenFree(ctx context.Context, f func() (wait bool, err error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		d.mu.Lock()
		wait, err := f()
		ended := d.ended
		d.mu.Unlock()
		if err != nil || !wait {
			return err
		}
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
}

// settleable locks the store once no row of the outcomes is locked by a
// transaction, whose end decides about it.
func (s *Store) settleable(ctx context.Context, outcomes []store.Outcome) error {
	for {
		s.mu.Lock()
		if !slices.ContainsFunc(outcomes, func(o store.Outcome) bool { return s.locks[o.ID] != nil }) {
			return nil
		}
		ended := s.ended
		s.mu.Unlock()
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

// KeepWork remembers what has been done so far, for [Tx.UndoWork].
func (tx *Tx) KeepWork() { tx.kept = tx.Savepoint() }

// UndoWork undoes what was done since [Tx.KeepWork].
func (tx *Tx) UndoWork() { tx.RollbackTo(tx.kept) }

// Now is when the transaction began.
func (tx *Tx) Now() time.Time { return tx.now }
