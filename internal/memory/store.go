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
	*database
	rows   map[int64]*row
	queues map[string]*queue
	lastID int64

	dead     []*DeadLetter // by id
	lastDead int64
	deadErr  error

	// What open transactions keep others from: rows and letters that they have
	// locked, and timers that they have added and nobody else sees.
	locks, deadLocks map[int64]*Tx
	adding           map[timerKey]*Tx

	paused map[string]time.Time // queues of which claims get nothing, and since when

	listeners listeners

	// published is each row that a transaction published, as it was then.
	published map[int64]*row
}

// database is what stores share that transactions can span: one lock and one
// clock.
type database struct {
	mu     sync.Mutex
	clock  clock
	stores []*Store
	// ended is closed, and made anew, when a transaction has let something go.
	ended chan struct{}
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
}

// Option is a setting of [New].
type Option func(*database)

// StartAt lets the clock start at t instead of now. With several, the last
// one counts.
func StartAt(t time.Time) Option {
	return func(d *database) { d.clock.start = t }
}

// Frozen stops the clock: only [Store.Advance] moves it.
func Frozen() Option {
	return func(d *database) { d.clock.frozen = true }
}

// New is an empty store.
func New(opts ...Option) *Store {
	now := time.Now()
	d := &database{clock: clock{start: now, origin: now}, ended: make(chan struct{})}
	for _, opt := range opts {
		opt(d)
	}
	return d.add()
}

// Beside is another store, empty, with the same clock. A transaction can span
// both.
func (s *Store) Beside() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add()
}

func (d *database) add() *Store {
	s := &Store{
		database: d, rows: make(map[int64]*row), queues: make(map[string]*queue),
		locks: make(map[int64]*Tx), deadLocks: make(map[int64]*Tx), adding: make(map[timerKey]*Tx), published: make(map[int64]*row),
		paused: make(map[string]time.Time),
	}
	d.stores = append(d.stores, s)
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

// Published is every message of a queue that a transaction published, as it was
// then, by id: those too that have been handled since, but not cancelled timers.
// A timer that was rescheduled is there with its last value.
func (s *Store) Published(queue string) (list []store.StoredTimer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.published)) {
		if r := s.published[id]; r.Queue == queue {
			list = append(list, r.stored())
		}
	}
	return list
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

// put adds a row, or puts back what was removed.
func (s *Store) put(r *row) {
	q := s.queue(r.Queue)
	if r.held() {
		q.leased.insert(r.leaseKey())
	} else {
		q.pending.insert(r.pendingKey())
	}
	if r.TimerID != "" {
		q.timers[r.TimerID] = r.ID
	}
	s.rows[r.ID] = r
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
