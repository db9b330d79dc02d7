package storetest

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

const (
	// slack is what may really pass between two statements of a scenario on a
	// busy machine. Everything that a scenario tells apart is further apart.
	slack = 20 * time.Second

	// patience bounds a scenario, so that a statement that waits for a lock
	// fails its scenario and not the whole run.
	patience = 2 * time.Minute
)

// scene is one scenario's store and the words it is told in. Its methods stop
// the test on an error, so they belong on the test's goroutine.
type scene struct {
	*is.I
	t     *testing.T
	ctx   context.Context
	h     Harness
	store store.Store
}

func newScene(t *testing.T, h Harness) *scene {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &scene{I: is.New(t), t: t, ctx: ctx, h: h, store: h.Store()}
}

func (s *scene) publish(drafts ...store.Draft) []int64 {
	s.t.Helper()
	s.Helper()
	ids, err := s.h.Publish(s.ctx, drafts...)
	s.NoErr(err)
	s.Equal(len(ids), len(drafts)) // an id for each draft
	return ids
}

// publishN publishes n messages to the queue, due at once.
func (s *scene) publishN(queue string, n int) []int64 {
	s.t.Helper()
	s.Helper()
	drafts := make([]store.Draft, n)
	for i := range drafts {
		drafts[i] = draft(queue, 0)
	}
	return s.publish(drafts...)
}

func (s *scene) advance(d time.Duration) {
	s.t.Helper()
	s.Helper()
	s.NoErr(s.h.Advance(s.ctx, d))
}

func (s *scene) exchange(outcomes []store.Outcome, claims ...store.Claim) store.Exchanged {
	s.t.Helper()
	s.Helper()
	ex, err := s.store.Exchange(s.ctx, outcomes, claims)
	s.NoErr(err)
	s.Equal(len(ex.Batches), len(claims)) // a batch for each claim
	for i, b := range ex.Batches {
		s.True(len(b.Messages) <= claims[i].Limit) // no more rows than asked for
	}
	return ex
}

// claim makes one claim, alone in its exchange.
func (s *scene) claim(c store.Claim) store.Batch {
	s.t.Helper()
	s.Helper()
	return s.exchange(nil, c).Batches[0]
}

// claimUpTo claims up to limit due rows of the queue under a token of its own.
func (s *scene) claimUpTo(queue string, limit int) []store.Claimed {
	s.t.Helper()
	s.Helper()
	return s.claim(pending(queue, limit)).Messages
}

// claimOne claims the one row that must be due.
func (s *scene) claimOne(queue string) store.Claimed {
	s.t.Helper()
	s.Helper()
	got := s.claimUpTo(queue, 1)
	s.Equal(len(got), 1) // a row to claim
	return got[0]
}

// settle writes the outcomes and says which took effect, by id.
func (s *scene) settle(outcomes ...store.Outcome) []int64 {
	s.t.Helper()
	s.Helper()
	return sorted(s.exchange(outcomes).Settled)
}

func (s *scene) bury(outcomes ...store.Outcome) []int64 {
	s.t.Helper()
	s.Helper()
	ids, locked, err := s.store.Bury(s.ctx, outcomes)
	s.NoErr(err)
	s.Equal(len(locked), 0)
	return sorted(ids)
}

func (s *scene) extend(leases ...store.Lease) []int64 {
	s.t.Helper()
	s.Helper()
	ids, err := s.store.Extend(s.ctx, leases)
	s.NoErr(err)
	return sorted(ids)
}

func (s *scene) look(watches ...store.Watch) []store.Outlook {
	s.t.Helper()
	s.Helper()
	got, err := s.store.Look(s.ctx, watches)
	s.NoErr(err)
	s.Equal(len(got), len(watches)) // an answer to each question
	for i, o := range got {
		s.Equal(o.Queue, watches[i].Queue) // the answer is to its question
	}
	return got
}

func (s *scene) rows() []Row {
	s.t.Helper()
	s.Helper()
	rows, err := s.h.Rows(s.ctx)
	s.NoErr(err)
	return rows
}

// row is the table's row with the id, which must be there.
func (s *scene) row(id int64) Row {
	s.t.Helper()
	s.Helper()
	rows := s.rows()
	i := slices.IndexFunc(rows, func(r Row) bool { return r.ID == id })
	s.True(i >= 0) // the row is in the table
	return rows[i]
}

func (s *scene) deadLetters() []DeadLetter {
	s.t.Helper()
	s.Helper()
	letters, err := s.h.DeadLetters(s.ctx)
	s.NoErr(err)
	return letters
}

// about says that two durations are the same but for what may really pass
// between two statements.
func (s *scene) about(got, want time.Duration) {
	s.t.Helper()
	s.Helper()
	if (got - want).Abs() > slack {
		s.t.Logf("got %v, want about %v", got, want)
		s.True((got - want).Abs() <= slack) // about the same time
	}
}

// dueIn says that the row becomes due after d, or about now where d is zero.
func (s *scene) dueIn(r Row, d time.Duration) {
	s.t.Helper()
	s.Helper()
	s.about(r.DueAt.Sub(r.Now), d)
	if d == 0 {
		s.True(!r.DueAt.After(r.Now)) // due already
	}
}

// draft is a message that becomes due after delay.
func draft(queue string, delay time.Duration) store.Draft {
	return store.Draft{
		Queue:   queue,
		Payload: []byte("payload"),
		Headers: []byte(`{"content-type": "text/plain"}`),
		Delay:   delay,
	}
}

// pending is a claim of due rows under a token of its own.
func pending(queue string, limit int) store.Claim {
	return store.Claim{Queue: queue, Limit: limit, Token: uuid.New()}
}

// expired is a claim of rows whose lease is older than d.
func expired(queue string, limit int, d time.Duration) store.Claim {
	c := pending(queue, limit)
	c.ExpiredAfter = d
	return c
}

func ack(m store.Claimed) store.Outcome {
	return store.Outcome{Lease: m.Lease, Kind: store.Ack}
}

func retry(m store.Claimed, delay, ran time.Duration) store.Outcome {
	return store.Outcome{Lease: m.Lease, Kind: store.Retry, Delay: delay, Ran: ran}
}

func release(m store.Claimed, delay time.Duration) store.Outcome {
	return store.Outcome{Lease: m.Lease, Kind: store.Release, Delay: delay}
}

func bury(m store.Claimed, reason, err string) store.Outcome {
	return store.Outcome{Lease: m.Lease, Kind: store.Bury, Reason: reason, Error: err}
}

func idsOf(ms []store.Claimed) []int64 {
	ids := make([]int64, len(ms))
	for i, m := range ms {
		ids[i] = m.ID
	}
	return ids
}

func leasesOf(ms []store.Claimed) []store.Lease {
	leases := make([]store.Lease, len(ms))
	for i, m := range ms {
		leases[i] = m.Lease
	}
	return leases
}

// sorted is a sorted copy, and never nil: is.Equal tells nil from empty.
func sorted(ids []int64) []int64 {
	out := append([]int64{}, ids...)
	slices.Sort(out)
	return out
}

// sameJSON compares by meaning: jsonb keeps no spaces and no order of keys.
func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}
