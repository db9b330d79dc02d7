package dlq

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Replayed is what a replay did.
type Replayed struct {
	// Moved counts the letters that are messages again, Skipped those that are
	// not.
	Moved, Skipped int64
	// Moves and Skips say which those are; of [Letters.ReplayAll] the first
	// 1,000 of each (see [OnProgress] for all of them).
	Moves []Move
	Skips []Skip
}

// Move is a letter that is a message again, with the message's id.
type Move struct{ Letter, Message int64 }

// Skip is a letter that was not moved, and why: [ErrNotFound], [ErrBusy],
// [ErrTimerLive], or what the [Fix] returned, wrapped.
type Skip struct {
	Letter int64
	Err    error
}

// Progress is what a replay has done so far, and in its last batch.
type Progress struct {
	// Moved and Skipped count from the start.
	Moved, Skipped int64
	// Queue is the letters' queue; Moves and Skips are those of the batch.
	Queue string
	Moves []Move
	Skips []Skip
}

// maxReported bounds what a replay of millions keeps in memory.
const maxReported = 1000

// Replay moves the letters with these ids back in the caller's transaction tx:
// they are messages, and delivered, if and only if tx commits. It is one
// statement, and with a [Fix] one more for each letter. An id given twice counts
// once, and more than 10,000 are [ErrInvalid]. Letters that cannot go back are in the result's Skips, and the others go
// all the same: an error is only what keeps all of them.
//
// tx may be of database/sql, see [queue.SQL]; [queue.Autocommit] is a
// transaction of its own. A letter that another transaction has locked is
// [ErrBusy] and not waited for. Whoever else inserts a message with the timer id
// of a letter, and has not committed, is waited for.
func (l Letters) Replay(ctx context.Context, tx queue.Tx, ids []int64, opts ...ReplayOption) (Replayed, error) {
	const verb = "replay"
	var set settings
	for _, o := range opts {
		if o != nil {
			o.applyReplay(&set)
		}
	}
	if err := errors.Join(l.made(), access.CheckTx(tx), set.err); err != nil {
		return Replayed{}, l.failed(verb, err)
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) > maxBatch {
		return Replayed{}, l.failed(verb, fmt.Errorf("%w: %d ids, it may be %d; ReplayAll takes more in its filter", ErrInvalid, len(ids), maxBatch))
	}
	var (
		done  Replayed
		fixes []store.Fix
	)
	if set.fix != nil {
		var rows []store.Letter
		for _, id := range ids {
			row, err := access.In(tx, l.table).Letter(ctx, id, l.queue)
			if err = explain(l.table, err); err == nil {
				rows = append(rows, row)
			} else if errors.Is(err, ErrNotFound) {
				done.skip(id, ErrNotFound)
			} else {
				return Replayed{}, l.failed(verb, err)
			}
		}
		ids, fixes = l.repair(&set, rows, &done)
	}
	if len(ids) == 0 {
		return done, nil
	}
	moved, err := access.In(tx, l.table).ReplayLettersByID(ctx, ids, fixes, l.queue, set.to)
	if err != nil {
		return Replayed{}, l.failed(verb, err)
	}
	done.add(moved)
	answered := map[int64]bool{}
	for _, m := range done.Moves {
		answered[m.Letter] = true
	}
	for _, s := range done.Skips {
		answered[s.Letter] = true
	}
	for _, id := range moved.Locked {
		answered[id] = true
		done.skip(id, ErrBusy)
	}
	for _, id := range ids {
		if !answered[id] {
			done.skip(id, ErrNotFound)
		}
	}
	return done, nil
}

// ReplayAll moves the letters that the filter selects back, oldest first, queue
// by queue, in batches (see [Batch], [Limit], [Rate], [To], [Fix] and
// [OnProgress]). The zero Filter means all of them. Each batch is one statement,
// which is atomic: on a pool or a connection it commits by itself, on a
// transaction everything is part of that.
//
// Letters whose timer id is live again and those that a fix refuses stay and are
// reported; letters that another replay or purge has in hand are passed over, so
// any number of calls can run at once and no letter is moved twice. Letters that
// come while it runs are left for the next call.
//
// After an error, or the end of ctx, the result says what was moved, and that
// stays so unless db is a transaction. Of the batch under way when a connection
// is lost nothing is known; it is not in the result, and can be looked for.
func (l Letters) ReplayAll(ctx context.Context, db DB, f Filter, opts ...ReplayAllOption) (Replayed, error) {
	const verb = "replay"
	set := settings{}
	for _, o := range opts {
		if o != nil {
			o.applyReplayAll(&set)
		}
	}
	var done Replayed
	if err := errors.Join(l.check(db), set.err); err != nil {
		return done, l.failed(verb, err)
	}
	where, err := f.bind(l)
	if err != nil {
		return done, l.failed(verb, err)
	}
	w := walk{letters: l, where: where, batch: set.batch, limit: set.limit, rest: noRest}
	switch {
	case w.batch > 0:
	case set.fix != nil:
		w.batch = fixBatch
	default:
		w.batch = defaultBatch
	}
	if set.rate > 0 {
		w.rest = paced(set.rate)
		w.batch = int(max(1, min(float64(w.batch), set.rate/10))) // ten batches a second
	}
	w.step = func(b batch) (int64, store.Place, bool, error) {
		var now Replayed
		last, more, err := l.replayBatch(ctx, db, b, &set, &now)
		if err != nil {
			return 0, last, false, err
		}
		done.Moved += now.Moved
		done.Skipped += now.Skipped
		done.Moves = append(done.Moves, now.Moves[:min(len(now.Moves), maxReported-len(done.Moves))]...)
		done.Skips = append(done.Skips, now.Skips[:min(len(now.Skips), maxReported-len(done.Skips))]...)
		if set.progress != nil {
			set.progress(Progress{Moved: done.Moved, Skipped: done.Skipped, Queue: b.where.Queue, Moves: now.Moves, Skips: now.Skips})
		}
		return now.Moved, last, more, nil
	}
	if _, err := w.run(ctx, db); err != nil {
		return done, l.failed(verb, err)
	}
	return done, nil
}

// replayBatch moves one batch: in one statement, or, with a fix, in one that
// reads and one that moves what is still there.
func (l Letters) replayBatch(ctx context.Context, db DB, b batch, set *settings, now *Replayed) (last store.Place, more bool, err error) {
	if set.fix == nil {
		moved, last, more, err := access.On(db, l.table).ReplayLetters(ctx, b.where, b.beyond, b.limit, set.to)
		now.add(moved)
		return last, more, err
	}
	rows, err := access.On(db, l.table).ListLetters(ctx, []string{b.where.Queue}, b.where, b.beyond, true, b.limit)
	if err != nil || len(rows) == 0 {
		return last, false, err
	}
	end := rows[len(rows)-1]
	last = end.Place
	if ids, fixes := l.repair(set, rows, now); len(ids) > 0 {
		// Those that are locked or gone by now are in the hands of others.
		moved, err := access.In(db, l.table).ReplayLettersByID(ctx, ids, fixes, b.where.Queue, set.to)
		if err != nil {
			return last, false, err
		}
		now.add(moved)
	}
	return last, len(rows) == b.limit, nil
}

// repair runs the fix on each letter and returns those that it could.
func (l Letters) repair(s *settings, rows []store.Letter, done *Replayed) (ids []int64, fixes []store.Fix) {
	for _, row := range rows {
		letter := newLetter(row)
		fixed, err := s.fixOne(letter)
		if err == nil {
			err = l.fits(letter, fixed)
		}
		if err != nil {
			done.skip(row.ID, fmt.Errorf("fix: %w", err))
			continue
		}
		ids = append(ids, row.ID)
		fixes = append(fixes, store.Fix{Payload: fixed.Payload, ContentType: fixed.ContentType})
	}
	return ids, fixes
}

// fixOne keeps a fix that panics, or gives what no column takes, from holding up
// the other letters.
func (s *settings) fixOne(l Letter) (fixed Fixed, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &queue.PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	if fixed, err = s.fix(l); err == nil && !validText(fixed.ContentType) {
		err = fmt.Errorf("%w: the content type is not valid text", queue.ErrInvalidHeader)
	}
	return fixed, err
}

// fits is [queue.ErrTooLarge] where a fix has made more of a letter than could be
// published. What was that large before may stay so.
func (l Letters) fits(was Letter, fixed Fixed) error {
	limits := l.limits
	if l.queue == "" {
		limits = limits.MaxBytes(max(queue.DefaultMaxBytes, len(was.Payload)))
	}
	if err := limits.Fits(fixed.Payload); err != nil {
		return err
	}
	grown := len(fixed.ContentType) - len(was.ContentType())
	if fixed.ContentType != "" && grown > 0 && len(was.rawHeaders)+grown > queue.MaxHeaders {
		return fmt.Errorf("%w: with a content type of %d bytes the headers pass the limit of %d", queue.ErrTooLarge, len(fixed.ContentType), queue.MaxHeaders)
	}
	return nil
}

func (r *Replayed) skip(id int64, err error) {
	r.Skipped++
	r.Skips = append(r.Skips, Skip{Letter: id, Err: fmt.Errorf("dead letter %d: %w", id, err)})
}

func (r *Replayed) add(moved store.Replayed) {
	r.Moved += int64(len(moved.Moved))
	for _, m := range moved.Moved {
		r.Moves = append(r.Moves, Move(m))
	}
	for _, id := range moved.Live {
		r.skip(id, ErrTimerLive)
	}
}
