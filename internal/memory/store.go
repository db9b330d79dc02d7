package memory

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Store is an outbox and its dead-letter table in memory. Use [New]; its
// methods are safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	clock  clock
	rows   map[int64]*row
	queues map[string]*queue
	lastID int64

	dead    []DeadLetter
	deadErr error

	listeners listeners
}

var _ store.Store = (*Store)(nil)

// row is one row of the table. Where nobody holds it, its token is uuid.Nil
// and its ClaimedAt is zero; the latter decides, as any token is a good one.
type row struct {
	store.Claimed
}

func (r *row) held() bool { return !r.ClaimedAt.IsZero() }

// heldBy says whether the row is still under the lease.
func (r *row) heldBy(l store.Lease) bool { return r.held() && r.Token == l.Token }

// pendingKey and leaseKey are the row's places in its queue's indexes.
func (r *row) pendingKey() key { return key{r.DueAt.UnixMicro(), r.ID} }
func (r *row) leaseKey() key   { return key{r.ClaimedAt.UnixMicro(), r.ID} }

// queue is the indexes of one queue's rows. A row is in exactly one of
// pending and leased.
type queue struct {
	pending index // rows that nobody holds, by due time and id
	leased  index // rows under lease, by the lease's start and id
	timers  map[string]int64
	paused  bool // claims get nothing
}

// Option is a setting of [New].
type Option func(*Store)

// StartAt lets the clock start at t instead of now. With several, the last
// one counts.
func StartAt(t time.Time) Option {
	return func(s *Store) { s.clock.start = t }
}

// Frozen stops the clock: only [Store.Advance] moves it.
func Frozen() Option {
	return func(s *Store) { s.clock.frozen = true }
}

// New is an empty store.
func New(opts ...Option) *Store {
	now := time.Now()
	s := &Store{
		clock:  clock{start: now, origin: now},
		rows:   make(map[int64]*row),
		queues: make(map[string]*queue),
	}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// Rows is a copy of what the table holds, by id. Where nobody holds a row,
// its token is uuid.Nil and its ClaimedAt is zero.
func (s *Store) Rows() []store.Claimed {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]store.Claimed, 0, len(s.rows))
	for _, id := range slices.Sorted(maps.Keys(s.rows)) {
		out = append(out, s.rows[id].copy())
	}
	return out
}

// copy shares no bytes with the row, so that nobody changes the table by
// changing a message.
func (r *row) copy() store.Claimed {
	c := r.Claimed
	c.Payload = slices.Clone(c.Payload)
	c.Headers = slices.Clone(c.Headers)
	return c
}

// queue is the named queue, made on first use.
func (s *Store) queue(name string) *queue {
	q := s.queues[name]
	if q == nil {
		q = &queue{timers: make(map[string]int64)}
		s.queues[name] = q
	}
	return q
}

// lease hands the row out: the table's half of a claim.
func (s *Store) lease(q *queue, r *row, token uuid.UUID, now time.Time) {
	s.unindex(q, r)
	r.Token, r.ClaimedAt = token, now
	r.Deliveries++
	q.leased.insert(r.leaseKey())
}

// unlease makes the row pending again, due at the instant.
func (s *Store) unlease(q *queue, r *row, due time.Time) {
	s.unindex(q, r)
	r.Token, r.ClaimedAt = uuid.Nil, time.Time{}
	r.DueAt = due
	q.pending.insert(r.pendingKey())
}

// remove takes the row out of the table.
func (s *Store) remove(q *queue, r *row) {
	s.unindex(q, r)
	delete(s.rows, r.ID)
	if r.TimerID != "" {
		delete(q.timers, r.TimerID)
	}
}

// unindex takes the row out of the index it is in. It must come before any
// change of the columns that the index is over.
func (s *Store) unindex(q *queue, r *row) {
	if r.held() {
		q.leased.remove(r.leaseKey())
	} else {
		q.pending.remove(r.pendingKey())
	}
}
