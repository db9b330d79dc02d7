package memory

import (
	"context"
	"maps"
	"slices"
	"time"
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
		for queue, since := range v.paused {
			if v.s.paused[queue] = since; since.IsZero() {
				delete(v.s.paused, queue)
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

// letGo wakes all that wait for another transaction. The caller holds the lock.
func (d *database) letGo() {
	close(d.ended)
	d.ended = make(chan struct{})
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

// Unlocked waits until no transaction has one of the rows locked.
func (s *Store) Unlocked(ctx context.Context, ids ...int64) error {
	return s.whenFree(ctx, func() (wait bool, err error) {
		return slices.ContainsFunc(ids, func(id int64) bool { return s.locks[id] != nil }), nil
	})
}

// KeepWork remembers what has been done so far, for [Tx.UndoWork].
func (tx *Tx) KeepWork() { tx.kept = tx.Savepoint() }

// UndoWork undoes what was done since [Tx.KeepWork].
func (tx *Tx) UndoWork() { tx.RollbackTo(tx.kept) }

// Now is when the transaction began.
func (tx *Tx) Now() time.Time { return tx.now }
