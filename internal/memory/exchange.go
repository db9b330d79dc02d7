package memory

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// ErrKind comes where an outcome is of a kind that the call does not write.
// Nothing is written.
var ErrKind = errors.New("kind does not belong here")

// Exchange implements [store.Exchanger]. It fails only where ctx has ended or
// a kind is wrong ([ErrKind]), and then nothing happened.
func (s *Store) Exchange(ctx context.Context, outcomes []store.Outcome, claims []store.Claim) (store.Exchanged, error) {
	if err := ctx.Err(); err != nil {
		return store.Exchanged{}, fmt.Errorf("exchange: %w", err)
	}
	for _, o := range outcomes {
		switch o.Kind {
		case store.Ack, store.Retry, store.Release:
		default:
			return store.Exchanged{}, fmt.Errorf("exchange: row %d, kind %d: %w", o.ID, o.Kind, ErrKind)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// One instant for all of it, as now() is in a transaction: what is
	// released without delay is due for the claims.
	now := s.clock.now()

	var ex store.Exchanged
	for _, o := range outcomes {
		switch r := s.rows[o.ID]; {
		case r == nil || !r.heldBy(o.Lease):
		case s.locks[o.ID] != nil:
			ex.Locked = append(ex.Locked, o.ID)
		default:
			s.settle(r, o, now)
			ex.Settled = append(ex.Settled, o.ID)
		}
	}
	for _, c := range claims {
		ex.Batches = append(ex.Batches, s.claim(c, now))
	}
	return ex, nil
}

// settle writes one outcome of a row.
func (s *Store) settle(r *row, o store.Outcome, now time.Time) {
	s.remove(s.queue(r.Queue), r)
	if next := r.settled(o, now, false); next != nil {
		s.put(next)
	}
}

// settled is the row after an outcome, nil where it ends. A row that a transaction
// holds has not had its delivery counted, even where it has an expired lease.
func (r *row) settled(o store.Outcome, now time.Time, held bool) *row {
	if o.Kind == store.Ack {
		return nil
	}
	next := *r
	if o.Kind == store.Retry {
		began := instant(now.Add(-o.Ran))
		next.Attempts++
		next.LastAttemptAt = began
		if next.FirstAttemptAt.IsZero() {
			next.FirstAttemptAt = began
		}
	} else {
		next.Deliveries--
	}
	if held {
		next.Deliveries++
	}
	next.Token, next.ClaimedAt = uuid.Nil, time.Time{}
	next.DueAt = instant(now.Add(max(0, o.Delay)))
	return &next
}

// claim answers one claim.
func (s *Store) claim(c store.Claim, now time.Time) store.Batch {
	var batch store.Batch
	q := s.queues[c.Queue]
	if q == nil {
		return batch
	}
	if !s.paused[c.Queue].IsZero() {
		if c.ExpiredAfter <= 0 { // what is due already brings nothing
			batch.NextDue, batch.HasNext = q.nextDue(max(floor(c.Since), now.UnixMicro()+1), now)
		}
		return batch
	}
	var found []*row
	if c.ExpiredAfter > 0 {
		found = s.expired(q, c, now)
	} else {
		found, batch.PassedOver = s.due(q, c, now)
	}
	for _, r := range found {
		s.lease(q, r, c.Token, now)
		batch.Messages = append(batch.Messages, r.copy())
	}
	if c.ExpiredAfter <= 0 && len(found) < c.Limit {
		batch.NextDue, batch.HasNext = q.nextDue(now.UnixMicro()+1, now)
	}
	return batch
}

// due is the claim's rows among the pending, in order, and, where they are fewer
// than asked for, whether others are locked.
func (s *Store) due(q *queue, c store.Claim, now time.Time) (found []*row, passedOver bool) {
	for k := range q.pending.from(floor(c.Since)) {
		switch {
		case k.at > now.UnixMicro():
			return found, passedOver
		case s.locks[k.id] != nil:
			passedOver = true
			continue
		}
		if found = append(found, s.rows[k.id]); len(found) == c.Limit {
			return found, false
		}
	}
	return found, passedOver
}

// expired is the claim's rows among the leased: those with the oldest leases,
// in order of due time all the same.
func (s *Store) expired(q *queue, c store.Claim, now time.Time) []*row {
	var found []*row
	before := now.Add(-c.ExpiredAfter).UnixMicro()
	for k := range q.leased.from(math.MinInt64) {
		if len(found) >= c.Limit || k.at >= before {
			break
		}
		if r := s.rows[k.id]; !r.DueAt.Before(c.Since) && s.locks[k.id] == nil {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *row) int { return compareKeys(a.pendingKey(), b.pendingKey()) })
	return found
}

// nextDue is how long from now the first pending row at or after the floor
// becomes due.
func (q *queue) nextDue(floor int64, now time.Time) (time.Duration, bool) {
	k, ok := q.pending.first(floor)
	if !ok {
		return 0, false
	}
	return time.UnixMicro(k.at).Sub(now), true
}

// floor is where a claim begins in the index of pending rows.
func floor(since time.Time) int64 {
	if since.IsZero() {
		return math.MinInt64
	}
	return since.UnixMicro()
}

// NextPending is the row of a queue that is due first, by time and then by id,
// among those that nobody holds or has locked; false: there is none, or the queue
// is paused.
func (s *Store) NextPending(queue string) (due time.Time, id int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[queue]
	if q == nil || !s.paused[queue].IsZero() {
		return due, 0, false
	}
	for k := range q.pending.from(math.MinInt64) {
		if s.locks[k.id] == nil {
			return s.rows[k.id].DueAt, k.id, true
		}
	}
	return due, 0, false
}
