package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/letterbox-go/letterbox/internal/store"
)

// Timers is a side door that a [Harness] of [RunModel] has: the producer's half of
// timers.
type Timers interface {
	// Schedule writes and commits a timer, unless one of its queue and id is
	// there: then added is false, and the id is that one's.
	Schedule(ctx context.Context, d store.Draft) (id int64, added bool, err error)
	// Cancel deletes a timer that waits. The id is zero where there is none; done
	// is false where it is running.
	Cancel(ctx context.Context, queue, timerID string) (id int64, done bool, err error)
}

// RunModel holds a store to a model of the lease contract: at random it publishes,
// schedules, cancels, claims, extends, settles by leases good and stale, gives
// back, and lets time pass, and after each step the table must be what the model
// says. A failure is made small, and printed with its steps. fresh returns an
// empty store; it is a [Timers] too.
func RunModel(t *testing.T, fresh func(t *testing.T) Harness) {
	rapid.Check(t, func(rt *rapid.T) {
		h := fresh(t)
		m := &model{Harness: h, timers: h.(Timers), rows: map[int64]*modelRow{}, dead: map[int64]int64{}}
		rt.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"publish":       m.publish,
			"schedule":      m.schedule,
			"cancel":        m.cancel,
			"claim":         m.claim,
			"claim expired": m.claimExpired,
			"settle":        m.settle,
			"bury":          m.bury,
			"extend":        m.extend,
			"give back":     m.giveBack,
			"look":          m.look,
			"pass time":     m.passTime,
		})
	})
}

// Steps of the model's time. Whole minutes pass, and what is compared with them
// is half a minute off: real time may go on in between without making a difference.
const (
	modelLease = 90 * time.Second
	modelSlack = 25 * time.Second
)

var (
	modelDelays = []time.Duration{0, 90 * time.Second, 210 * time.Second}
	modelQueues = []string{"a", "b"}
)

// model is the lease contract in its plainest form.
type model struct {
	Harness
	timers Timers
	now    time.Duration
	rows   map[int64]*modelRow
	dead   map[int64]int64 // by original id: deliveries
	leases []store.Lease   // all that ever were, the stale ones too
	serial int
}

type modelRow struct {
	queue, timer         string
	due, claimed         time.Duration
	token                uuid.UUID // Nil: nobody has it
	attempts, deliveries int64
}

func (r *modelRow) free() bool { return r.token == uuid.Nil }

// of are the rows of a queue for which a condition holds.
func (m *model) of(queue string, holds func(*modelRow) bool) (ids []int64) {
	for id, r := range m.rows {
		if r.queue == queue && holds(r) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// held is the row of a lease that is still good.
func (m *model) held(l store.Lease) *modelRow {
	if r := m.rows[l.ID]; r != nil && r.token == l.Token {
		return r
	}
	return nil
}

func drawQueue(t *rapid.T) string        { return rapid.SampledFrom(modelQueues).Draw(t, "queue") }
func drawDelay(t *rapid.T) time.Duration { return rapid.SampledFrom(modelDelays).Draw(t, "delay") }
func drawTimer(t *rapid.T) string        { return rapid.SampledFrom([]string{"x", "y"}).Draw(t, "timer") }

// drawLeases picks leases of different rows, good or stale.
func (m *model) drawLeases(t *rapid.T) []store.Lease {
	if len(m.leases) == 0 {
		t.Skip("no leases yet")
	}
	picked := map[int64]store.Lease{}
	for range rapid.IntRange(1, 4).Draw(t, "leases") {
		l := rapid.SampledFrom(m.leases).Draw(t, "lease")
		picked[l.ID] = l
	}
	return slices.SortedFunc(maps.Values(picked), func(a, b store.Lease) int { return cmp.Compare(a.ID, b.ID) })
}

func (m *model) draft(t *rapid.T) store.Draft {
	m.serial++
	return store.Draft{
		Queue: drawQueue(t), Payload: fmt.Append(nil, m.serial), Headers: []byte(`{"n": "1"}`), Delay: drawDelay(t),
	}
}

func (m *model) add(id int64, d store.Draft) {
	m.rows[id] = &modelRow{queue: d.Queue, timer: d.TimerID, due: m.now + d.Delay}
}

func (m *model) publish(t *rapid.T) {
	drafts := make([]store.Draft, rapid.IntRange(1, 3).Draw(t, "n"))
	for i := range drafts {
		drafts[i] = m.draft(t)
	}
	ids, err := m.Publish(t.Context(), drafts...)
	if err != nil || len(ids) != len(drafts) {
		t.Fatalf("publish: ids %v, %v", ids, err)
	}
	for i, id := range ids {
		m.add(id, drafts[i])
	}
}

func (m *model) schedule(t *rapid.T) {
	d := m.draft(t)
	d.TimerID = drawTimer(t)
	there := m.of(d.Queue, func(r *modelRow) bool { return r.timer == d.TimerID })
	id, added, err := m.timers.Schedule(t.Context(), d)
	switch {
	case err != nil:
		t.Fatalf("schedule: %v", err)
	case added != (len(there) == 0):
		t.Fatalf("schedule: added %v, but there are %v", added, there)
	case !added && id != there[0]:
		t.Fatalf("schedule: found %d, not %d", id, there[0])
	case added:
		m.add(id, d)
	}
}

func (m *model) cancel(t *rapid.T) {
	queue, timer := drawQueue(t), drawTimer(t)
	there := m.of(queue, func(r *modelRow) bool { return r.timer == timer })
	id, done, err := m.timers.Cancel(t.Context(), queue, timer)
	switch {
	case err != nil:
		t.Fatalf("cancel: %v", err)
	case len(there) == 0:
		if id != 0 || done {
			t.Fatalf("cancel: id %d, done %v, but there is none", id, done)
		}
	case id != there[0] || done != m.rows[id].free():
		t.Fatalf("cancel: id %d, done %v of %d", id, done, there[0])
	case done:
		delete(m.rows, id)
	}
}

func (m *model) claim(t *rapid.T) {
	queue, limit := drawQueue(t), rapid.IntRange(1, 3).Draw(t, "limit")
	due := m.of(queue, func(r *modelRow) bool { return r.free() && r.due <= m.now })
	b := m.take(t, store.Claim{Queue: queue, Limit: limit, Token: uuid.New()}, due, func(r *modelRow) time.Duration { return r.due })
	if len(b.Messages) == limit {
		if b.HasNext {
			t.Fatalf("a claim that got all it asked for says what is next")
		}
		return
	}
	if b.PassedOver {
		t.Fatalf("a claim passed something over, and nothing is locked")
	}
	m.checkNext(t, queue, func(r *modelRow) bool { return r.free() && r.due > m.now }, b.HasNext, b.NextDue)
}

func (m *model) claimExpired(t *rapid.T) {
	queue, limit := drawQueue(t), rapid.IntRange(1, 3).Draw(t, "limit")
	expired := m.of(queue, func(r *modelRow) bool { return !r.free() && m.now-r.claimed > modelLease })
	c := store.Claim{Queue: queue, Limit: limit, Token: uuid.New(), ExpiredAfter: modelLease}
	m.take(t, c, expired, func(r *modelRow) time.Duration { return r.claimed })
}

// take makes a claim, which brings the first of the eligible rows by their key; of
// those with one key, any.
func (m *model) take(t *rapid.T, c store.Claim, eligible []int64, key func(*modelRow) time.Duration) store.Batch {
	done, err := m.Store().Exchange(t.Context(), nil, []store.Claim{c})
	if err != nil || len(done.Batches) != 1 {
		t.Fatalf("claim: %d batches, %v", len(done.Batches), err)
	}
	got := done.Batches[0]
	if want := min(c.Limit, len(eligible)); len(got.Messages) != want {
		t.Fatalf("claim of %d: got %d, with %v eligible", c.Limit, len(got.Messages), eligible)
	}
	keys := make([]time.Duration, len(eligible))
	for i, id := range eligible {
		keys[i] = key(m.rows[id])
	}
	slices.Sort(keys)
	var taken []time.Duration
	for _, msg := range got.Messages {
		if !slices.Contains(eligible, msg.ID) || msg.Token != c.Token {
			t.Fatalf("claim: got row %d with token %v; eligible are %v", msg.ID, msg.Token, eligible)
		}
		taken = append(taken, key(m.rows[msg.ID]))
	}
	slices.Sort(taken)
	if !slices.Equal(taken, keys[:len(taken)]) {
		t.Fatalf("claim: got rows of %v, not the first of %v", taken, keys)
	}
	for _, msg := range got.Messages {
		r := m.rows[msg.ID]
		r.token, r.claimed = c.Token, m.now
		r.deliveries++
		m.leases = append(m.leases, msg.Lease)
	}
	return got
}

// checkNext compares when the next row is due with what was said.
func (m *model) checkNext(t *rapid.T, queue string, waits func(*modelRow) bool, has bool, due time.Duration) {
	ids := m.of(queue, waits)
	if has != (len(ids) > 0) {
		t.Fatalf("queue %s: has next %v, but these wait: %v", queue, has, ids)
	}
	if !has {
		return
	}
	next := m.rows[ids[0]].due
	for _, id := range ids {
		next = min(next, m.rows[id].due)
	}
	if off := due - (next - m.now); off.Abs() > modelSlack {
		t.Fatalf("queue %s: next is due in %v, not in %v", queue, due, next-m.now)
	}
}

func (m *model) settle(t *rapid.T) {
	var (
		outcomes []store.Outcome
		want     []int64
	)
	for _, l := range m.drawLeases(t) {
		o := store.Outcome{Lease: l, Kind: rapid.SampledFrom([]store.Kind{store.Ack, store.Retry, store.Release}).Draw(t, "kind")}
		if o.Kind != store.Ack {
			o.Delay = drawDelay(t)
		}
		outcomes = append(outcomes, o)
		r := m.held(l)
		if r == nil {
			continue
		}
		want = append(want, l.ID)
		switch o.Kind {
		case store.Ack:
			delete(m.rows, l.ID)
		case store.Retry:
			r.attempts++
			r.token, r.due = uuid.Nil, m.now+o.Delay
		case store.Release:
			r.deliveries--
			r.token, r.due = uuid.Nil, m.now+o.Delay
		}
	}
	done, err := m.Store().Exchange(t.Context(), outcomes, nil)
	m.same(t, "settle", done.Settled, want, err)
}

func (m *model) bury(t *rapid.T) {
	var (
		outcomes []store.Outcome
		want     []int64
	)
	for _, l := range m.drawLeases(t) {
		outcomes = append(outcomes, store.Outcome{Lease: l, Kind: store.Bury, Reason: "rejected"})
		if r := m.held(l); r != nil {
			want = append(want, l.ID)
			m.dead[l.ID] = r.deliveries
			delete(m.rows, l.ID)
		}
	}
	moved, _, err := m.Store().Bury(t.Context(), outcomes)
	m.same(t, "bury", moved, want, err)
}

func (m *model) extend(t *rapid.T) {
	leases := m.drawLeases(t)
	var want []int64
	for _, l := range leases {
		if r := m.held(l); r != nil {
			want = append(want, l.ID)
			r.claimed = m.now
		}
	}
	got, err := m.Store().Extend(t.Context(), leases)
	m.same(t, "extend", got, want, err)
}

func (m *model) giveBack(t *rapid.T) {
	leases := m.drawLeases(t)
	tokens := make([]uuid.UUID, len(leases))
	for i, l := range leases {
		tokens[i] = l.Token
	}
	queue := drawQueue(t)
	for _, id := range m.of(queue, func(r *modelRow) bool { return !r.free() && slices.Contains(tokens, r.token) }) {
		r := m.rows[id]
		r.deliveries--
		r.token, r.due = uuid.Nil, m.now
	}
	if err := m.Store().Return(t.Context(), []string{queue}, tokens); err != nil {
		t.Fatalf("give back: %v", err)
	}
}

func (m *model) look(t *rapid.T) {
	watches := make([]store.Watch, len(modelQueues))
	for i, q := range modelQueues {
		watches[i] = store.Watch{Queue: q, ExpiredAfter: modelLease}
	}
	seen, err := m.Store().Look(t.Context(), watches)
	if err != nil || len(seen) != len(watches) {
		t.Fatalf("look: %d answers, %v", len(seen), err)
	}
	for i, q := range modelQueues {
		expired := m.of(q, func(r *modelRow) bool { return !r.free() && m.now-r.claimed > modelLease })
		if seen[i].Expired != (len(expired) > 0) {
			t.Fatalf("look at %s: expired %v, but there are %v", q, seen[i].Expired, expired)
		}
		if due := m.of(q, func(r *modelRow) bool { return r.free() && r.due <= m.now }); len(due) > 0 {
			if !seen[i].HasNext || seen[i].NextDue > 0 {
				t.Fatalf("look at %s: next in %v, but due are %v", q, seen[i].NextDue, due)
			}
			continue
		}
		m.checkNext(t, q, (*modelRow).free, seen[i].HasNext, seen[i].NextDue)
	}
}

func (m *model) passTime(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 3).Draw(t, "minutes")) * time.Minute
	if err := m.Advance(t.Context(), d); err != nil {
		t.Fatalf("pass time: %v", err)
	}
	m.now += d
}

func (m *model) same(t *rapid.T, what string, got, want []int64, err error) {
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%s took effect on %v, not on %v: %v", what, got, want, err)
	}
}

// check compares the tables with the model.
func (m *model) check(t *rapid.T) {
	rows, err := m.Rows(t.Context())
	if err != nil {
		t.Fatalf("read the rows: %v", err)
	}
	if len(rows) != len(m.rows) {
		t.Fatalf("there are %d rows, not %d", len(rows), len(m.rows))
	}
	for _, row := range rows {
		want := m.rows[row.ID]
		if want == nil {
			t.Fatalf("row %d should be gone", row.ID)
		}
		got := modelRow{
			queue: row.Queue, timer: row.TimerID, token: row.Token, attempts: row.Attempts, deliveries: row.Deliveries,
			due: want.due, claimed: want.claimed,
		}
		if got != *want {
			t.Fatalf("row %d is %+v, not %+v", row.ID, got, *want)
		}
		if off := row.DueAt.Sub(row.Now) - (want.due - m.now); off.Abs() > modelSlack {
			t.Fatalf("row %d is due in %v, not in %v", row.ID, row.DueAt.Sub(row.Now), want.due-m.now)
		}
		if off := row.ClaimedAt.Sub(row.Now) - (want.claimed - m.now); !want.free() && off.Abs() > modelSlack {
			t.Fatalf("row %d was claimed %v ago, not %v", row.ID, row.Now.Sub(row.ClaimedAt), m.now-want.claimed)
		}
	}
	letters, err := m.DeadLetters(t.Context())
	if err != nil || len(letters) != len(m.dead) {
		t.Fatalf("there are %d dead letters, not %d: %v", len(letters), len(m.dead), err)
	}
	for _, l := range letters {
		if deliveries, dead := m.dead[l.OriginalID]; !dead || deliveries != l.Deliveries {
			t.Fatalf("dead letter of row %d with %d deliveries; the model says %v, %d", l.OriginalID, l.Deliveries, dead, deliveries)
		}
	}
}
