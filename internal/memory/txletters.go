package memory

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/letterbox-go/letterbox/internal/store"
)

// letter is a letter as the transaction sees it; nil: there is none.
func (v *View) letter(id int64) *DeadLetter {
	if l, wrote := v.letters[id]; wrote {
		return l
	}
	at, there := slices.BinarySearchFunc(v.s.dead, id, func(d *DeadLetter, id int64) int { return cmp.Compare(d.ID, id) })
	if !there {
		return nil
	}
	return v.s.dead[at]
}

// lettersOf are those that a filter selects, oldest first.
func (v *View) lettersOf(f store.LetterFilter) (list []*DeadLetter) {
	until := instant(f.FailedBefore.Add(-1))
	youngest := v.tx.now.Add(-f.OlderThan)
	match := func(d *DeadLetter) bool {
		return (f.Queue == "" || d.Queue == f.Queue) && (f.Reason == "" || d.Reason == f.Reason) &&
			(f.Error == "" || d.Error != nil && strings.Contains(*d.Error, f.Error)) &&
			!d.FailedAt.Before(f.FailedFrom) && (f.FailedBefore.IsZero() || !d.FailedAt.After(until)) &&
			(f.OlderThan == 0 || !d.FailedAt.After(youngest)) &&
			(f.IDs == nil || slices.Contains(f.IDs, d.ID)) && d.ID <= cmp.Or(f.Last, math.MaxInt64)
	}
	for _, d := range v.s.dead {
		if _, wrote := v.letters[d.ID]; !wrote && match(d) {
			list = append(list, d)
		}
	}
	for _, d := range v.letters {
		if d != nil && match(d) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *DeadLetter) int { return comparePlaces(a.place(), b.place()) })
	return list
}

// stored is a copy of the letter for others.
func (d *DeadLetter) stored() store.Letter {
	l := store.Letter{
		ID: d.ID, OriginalID: d.OriginalID, Queue: d.Queue, Payload: slices.Clone(d.Payload), Headers: slices.Clone(d.Headers),
		Deliveries: d.Deliveries, CreatedAt: d.CreatedAt, FailedAt: d.FailedAt, Reason: d.Reason, TimerID: d.TimerID, Place: d.place(),
	}
	if d.Error != nil {
		l.Error = *d.Error
	}
	return l
}

// Letter implements [store.Replayer].
func (v *View) Letter(ctx context.Context, id int64, queue string) (l store.Letter, err error) {
	problem := sql.ErrNoRows
	err = v.do(ctx, func() bool {
		if d := v.letter(id); d != nil && (queue == "" || d.Queue == queue) {
			l, problem = d.stored(), nil
		}
		return false
	})
	return l, cmp.Or(err, problem)
}

// LetterScope implements [store.Letters].
func (v *View) LetterScope(ctx context.Context, f store.LetterFilter) (queues []string, last int64, err error) {
	err = v.do(ctx, func() bool {
		for _, d := range v.lettersOf(store.LetterFilter{}) {
			queues, last = append(queues, d.Queue), max(last, d.ID)
		}
		return false
	})
	if f.Queue != "" {
		return []string{f.Queue}, last, err
	}
	slices.Sort(queues)
	return slices.Compact(queues), last, err
}

// CountLetters implements [store.Letters].
func (v *View) CountLetters(ctx context.Context, queues []string, f store.LetterFilter) (counts []store.LetterCount, err error) {
	err = v.do(ctx, func() bool {
		for _, d := range v.lettersOf(f) { // oldest first
			if !slices.Contains(queues, d.Queue) {
				continue
			}
			c := store.LetterCount{Queue: d.Queue, Reason: d.Reason, Oldest: d.FailedAt}
			at, there := slices.BinarySearchFunc(counts, c, func(a, b store.LetterCount) int {
				return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Reason, b.Reason))
			})
			if !there {
				counts = slices.Insert(counts, at, c)
			}
			counts[at].Letters++
			counts[at].Newest = d.FailedAt
		}
		return false
	})
	return counts, err
}

// ListLetters implements [store.Letters].
func (v *View) ListLetters(ctx context.Context, queues []string, f store.LetterFilter, beyond store.Place, oldestFirst bool, limit int) (list []store.Letter, err error) {
	err = v.do(ctx, func() bool {
		all, way := v.lettersOf(f), 1
		if !oldestFirst {
			slices.Reverse(all)
			way = -1
		}
		for _, d := range all {
			if len(list) == limit {
				break
			}
			if slices.Contains(queues, d.Queue) && (!beyond.Known || way*comparePlaces(d.place(), beyond) > 0) {
				list = append(list, d.stored())
			}
		}
		return false
	})
	return list, err
}

// pick locks up to limit letters beyond a place, oldest first, and passes over
// those that another transaction has.
func (v *View) pick(f store.LetterFilter, beyond store.Place, limit int) (picked []*DeadLetter, last store.Place, more bool) {
	for _, d := range v.lettersOf(f) {
		if len(picked) == limit {
			break
		}
		if v.freeLetter(d.ID) && (!beyond.Known || comparePlaces(d.place(), beyond) > 0) {
			picked, last = append(picked, d), d.place()
			v.lockLetter(d.ID)
		}
	}
	return picked, last, len(picked) == limit
}

func (v *View) freeLetter(id int64) bool {
	return v.s.deadLocks[id] == nil || v.s.deadLocks[id] == v.tx
}

func (v *View) lockLetter(id int64) { v.s.deadLocks[id], v.deadLocks[id] = v.tx, true }

// PurgeLetters implements [store.Letters].
func (v *View) PurgeLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int) (gone int64, last store.Place, more bool, err error) {
	err = v.do(ctx, func() bool {
		var picked []*DeadLetter
		picked, last, more = v.pick(f, beyond, limit)
		for _, d := range picked {
			v.letters[d.ID] = nil
		}
		gone = int64(len(picked))
		return false
	})
	return gone, last, more, err
}

// ReplayLetters implements [store.Letters].
func (v *View) ReplayLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int, to string) (done store.Replayed, last store.Place, more bool, err error) {
	err = v.do(ctx, func() bool {
		picked, end, full := v.pick(f, beyond, limit)
		if v.waits(picked, to) {
			return true
		}
		last, more = end, full
		for _, d := range picked {
			v.replay(d, store.Fix{Payload: d.Payload}, to, &done)
		}
		return false
	})
	return done, last, more, err
}

// ReplayLettersByID implements [store.Replayer].
func (v *View) ReplayLettersByID(ctx context.Context, ids []int64, fixes []store.Fix, from, to string) (done store.Replayed, err error) {
	err = v.do(ctx, func() bool {
		done = store.Replayed{}
		var picked []*DeadLetter
		fix := map[int64]store.Fix{}
		for i, id := range ids {
			d := v.letter(id)
			switch {
			case d == nil || from != "" && d.Queue != from:
				continue
			case !v.freeLetter(id):
				done.Locked = append(done.Locked, id)
				continue
			}
			picked = append(picked, d)
			v.lockLetter(id)
			if fix[id] = (store.Fix{Payload: d.Payload}); fixes != nil {
				fix[id] = fixes[i]
			}
		}
		if v.waits(picked, to) {
			return true
		}
		slices.SortFunc(picked, func(a, b *DeadLetter) int { return comparePlaces(a.place(), b.place()) })
		for _, d := range picked {
			v.replay(d, fix[d.ID], to, &done)
		}
		slices.Sort(done.Locked)
		return false
	})
	return done, err
}

// waits says whether another transaction is adding the timer of one of the letters.
func (v *View) waits(letters []*DeadLetter, to string) bool {
	return slices.ContainsFunc(letters, func(d *DeadLetter) bool {
		k := timerKey{cmp.Or(to, d.Queue), d.TimerID}
		return d.TimerID != "" && v.timer(k) == nil && v.taken(k)
	})
}

// replay makes a message of a letter that is locked, unless its timer is live.
func (v *View) replay(d *DeadLetter, fix store.Fix, to string, done *store.Replayed) {
	queue := cmp.Or(to, d.Queue)
	if d.TimerID != "" && v.timer(timerKey{queue, d.TimerID}) != nil {
		done.Live = append(done.Live, d.ID)
		return
	}
	headers := d.Headers
	if fix.ContentType != "" {
		headers = withContentType(headers, fix.ContentType)
	}
	r := v.add(&store.Draft{Queue: queue, Payload: fix.Payload, Headers: headers, TimerID: d.TimerID}, v.tx.now)
	r.CreatedAt = d.CreatedAt
	delete(v.published, r.ID) // it was, long ago
	v.letters[d.ID] = nil
	done.Moved = append(done.Moved, store.Moved{Letter: d.ID, Message: r.ID})
}

// withContentType sets a header. Headers that are no object, as others may write,
// become one.
func withContentType(headers []byte, contentType string) []byte {
	fields := map[string]json.RawMessage{}
	if json.Unmarshal(headers, &fields) != nil || fields == nil {
		fields = map[string]json.RawMessage{}
	}
	name, err := json.Marshal(contentType)
	if err != nil {
		return headers // a string always has JSON
	}
	fields["content-type"] = name
	changed, err := json.Marshal(fields)
	if err != nil {
		return headers
	}
	return changed
}

// bury moves a row that the transaction holds to the dead letters.
func (v *View) bury(r *row, o store.Outcome) {
	buried := *r
	buried.Deliveries++ // which was not counted
	v.write(r.ID, nil)
	v.s.lastDead++
	v.letters[v.s.lastDead] = letterOf(v.s.lastDead, &buried, o, v.tx.now)
}
