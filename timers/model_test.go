package timers_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/timers"
)

// seedVariable repeats a run of the model test.
const seedVariable = "LETTERBOX_TIMERS_SEED"

// TestModel plays random steps on PostgreSQL, or in memory, and on a model, and compares every
// answer and the table. Two transactions are open at once, each of which
// schedules, reschedules, cancels, commits and rolls back; a worker claims,
// acknowledges, fails, hands back, dies and comes late.
func TestModel(t *testing.T) {
	t.Parallel()
	seeds := []uint64{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	steps := 400
	if testing.Short() {
		seeds, steps = seeds[:1], 200
	}
	if s := os.Getenv(seedVariable); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		for name, newSubstrates := range substrates {
			t.Run(fmt.Sprint(name, " seed ", seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, newSubstrates(t)(t), seed)
				for range steps {
					w.step()
				}
				for _, s := range w.sessions {
					w.end(s, true)
				}
				if t.Failed() {
					t.Logf("again: %s=%d go test -run TestModel ./timers\n%s", seedVariable, seed, strings.Join(w.story, "\n"))
				}
			})
		}
	}
}

// modelRow is a row of the model. Rows are values: a transaction that changes one
// has a row of its own.
type modelRow struct {
	timer, payload       string
	due, leased          bool
	token                uuid.UUID
	attempts, deliveries int
}

// session is a transaction with what it has written; nil is a deleted row.
type session struct {
	name  string
	tx    pgx.Tx
	wrote map[int64]*modelRow
	fresh map[string]bool // timers that it inserted, which others do not see
}

// world is the table and its model.
type world struct {
	t        *testing.T
	is       *is.I
	rng      *rand.Rand
	on       substrate
	rows     map[int64]modelRow // what is committed
	sessions []*session
	story    []string
	payloads int
}

func newWorld(t *testing.T, on substrate, seed uint64) *world {
	return &world{
		t: t, is: is.New(t), rng: rand.New(rand.NewPCG(seed, 0)),
		on:   on,
		rows: map[int64]modelRow{}, sessions: []*session{{name: "A"}, {name: "B"}},
	}
}

func (w *world) say(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

// want compares an answer with the model's.
func (w *world) want(what string, got, want any) {
	w.t.Helper()
	w.say("  %s: %v", what, got)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Fatalf("%s: got %v, the model says %v; again: %s=... (see the name of the test)\n%s", what, got, want, seedVariable, strings.Join(w.story, "\n"))
	}
}

func (w *world) step() {
	s := w.sessions[w.rng.IntN(2)]
	id := string("abc"[w.rng.IntN(3)])
	switch n := w.rng.IntN(100); {
	case n < 15:
		w.schedule(s, id)
	case n < 40:
		w.reschedule(s, id)
	case n < 50:
		w.cancel(s, id)
	case n < 53:
		w.cancelAll(s, id)
	case n < 65:
		w.end(s, w.rng.IntN(3) > 0)
	case n < 78:
		w.claim()
	default:
		w.settle()
	}
}

// open is the session's transaction, begun on demand.
func (w *world) open(s *session) pgx.Tx {
	if s.tx == nil {
		s.tx = open(w.t, w.on)
		s.wrote, s.fresh = map[int64]*modelRow{}, map[string]bool{}
		w.say("%s begins", s.name)
	}
	return s.tx
}

func (w *world) end(s *session, commit bool) {
	if s.tx == nil {
		return
	}
	w.say("%s ends, commit=%v", s.name, commit)
	if commit {
		w.is.NoErr(s.tx.Commit(w.t.Context()))
		for id, r := range s.wrote {
			if r == nil {
				delete(w.rows, id)
			} else {
				w.rows[id] = *r
			}
		}
	} else {
		w.is.NoErr(s.tx.Rollback(w.t.Context()))
	}
	s.tx, s.wrote, s.fresh = nil, nil, nil
	w.compare()
}

// see is the row with a timer id as a session sees it; zero: none.
func (w *world) see(s *session, timer string) (int64, modelRow) {
	for id, r := range s.wrote {
		if r != nil && r.timer == timer {
			return id, *r
		}
	}
	for id, r := range w.rows {
		if _, changed := s.wrote[id]; !changed && r.timer == timer {
			return id, r
		}
	}
	return 0, modelRow{}
}

// locked says whether a transaction has written the row, other than s.
func (w *world) locked(s *session, id int64) bool {
	for _, other := range w.sessions {
		if _, wrote := other.wrote[id]; wrote && other != s {
			return true
		}
	}
	return false
}

// blocks says whether an insert of the timer would wait: somebody else has, and
// nobody can see it yet.
func (w *world) blocks(s *session, timer string) bool {
	if id, _ := w.see(s, timer); id != 0 {
		return false
	}
	for _, other := range w.sessions {
		if other != s && other.fresh[timer] {
			return true
		}
	}
	return false
}

// message makes a payload that is used once, and a due time: now or not.
func (w *world) message() (payload string, due bool, after time.Duration) {
	w.payloads++
	payload = fmt.Sprint("m", w.payloads)
	if w.rng.IntN(2) == 0 {
		return payload, true, 0
	}
	return payload, false, time.Hour
}

func (w *world) insert(s *session, id int64, r modelRow) {
	s.wrote[id], s.fresh[r.timer] = &r, true
}

func (w *world) schedule(s *session, timer string) {
	tx := w.open(s)
	if w.blocks(s, timer) {
		return
	}
	payload, due, after := w.message()
	w.say("%s schedules %s %s due=%v", s.name, timer, payload, due)
	res, err := timers.ScheduleAfter(w.t.Context(), tx, timer, after, text(payload))
	w.is.NoErr(err)
	if id, there := w.see(s, timer); id != 0 {
		w.found(res, timers.AlreadyThere, id, there)
		return
	}
	w.want("outcome", res.Outcome, timers.Scheduled)
	w.insert(s, res.ID, modelRow{timer: timer, payload: payload, due: due})
}

// found compares a result with what the model says was there.
func (w *world) found(res timers.Result, want timers.Outcome, id int64, there modelRow) {
	w.t.Helper()
	w.want("outcome", res.Outcome, want)
	w.want("existing", res.Existing.ID, id)
	w.want("leased", res.Existing.Leased, there.leased)
	w.want("attempts", res.Existing.Attempts, there.attempts)
}

func (w *world) reschedule(s *session, timer string) {
	tx := w.open(s)
	if w.blocks(s, timer) {
		return
	}
	payload, due, after := w.message()
	policy := timers.Policy(w.rng.IntN(2))
	which := timers.Which(w.rng.IntN(3))
	w.say("%s reschedules %s %s due=%v policy=%d keep=%d", s.name, timer, payload, due, policy, which)
	res, err := timers.RescheduleAfter(w.t.Context(), tx, timer, after, text(payload), timers.WhenRunning(policy), timers.Keep(which))
	w.is.NoErr(err)
	next := modelRow{timer: timer, payload: payload, due: due}
	id, there := w.see(s, timer)
	switch {
	case id == 0:
		w.want("outcome", res.Outcome, timers.Scheduled)
		w.insert(s, res.ID, next)
	case w.locked(s, id) || (there.leased && policy == timers.Refuse):
		w.found(res, timers.Running, id, there)
	case there.leased:
		w.found(res, timers.Rearmed, id, there)
		there.timer = ""
		s.wrote[id] = &there
		w.insert(s, res.ID, next)
	default:
		w.found(res, timers.Rescheduled, id, there)
		w.want("id", res.ID, id)
		switch which {
		case timers.Earliest:
			next.due = due || there.due
		case timers.Latest:
			next.due = due && there.due
		}
		s.wrote[id] = &next
	}
}

func (w *world) cancel(s *session, timer string) {
	tx := w.open(s)
	w.say("%s cancels %s", s.name, timer)
	res, err := timers.Of(reminders).Cancel(w.t.Context(), tx, timer)
	w.is.NoErr(err)
	id, there := w.see(s, timer)
	switch {
	case id == 0:
		w.want("outcome", res.Outcome, timers.Absent)
	case w.locked(s, id) || there.leased:
		w.found(res, timers.Running, id, there)
	default:
		w.found(res, timers.Cancelled, id, there)
		s.wrote[id] = nil
	}
}

func (w *world) cancelAll(s *session, prefix string) {
	tx := w.open(s)
	w.say("%s cancels all of %s", s.name, prefix)
	res, err := timers.Of(reminders).CancelPrefix(w.t.Context(), tx, prefix)
	w.is.NoErr(err)
	var want timers.CancelCount
	if id, there := w.see(s, prefix); id != 0 { // ids are one letter long
		if w.locked(s, id) || there.leased {
			want.Running++
		} else {
			want.Cancelled++
			s.wrote[id] = nil
		}
	}
	w.want("counts", res, want)
}

// claim leases what is due and not locked.
func (w *world) claim() {
	w.say("a worker claims")
	w.take(store.Claim{Queue: "reminders", Limit: 100}, func(_ int64, r modelRow) bool { return !r.leased && r.due })
}

// take claims, and expects the rows that match and that nobody has locked.
func (w *world) take(c store.Claim, match func(int64, modelRow) bool) {
	c.Token = uuid.New()
	done, err := w.on.store().Exchange(w.t.Context(), nil, []store.Claim{c})
	w.is.NoErr(err)
	var got, want []int64
	for _, m := range done.Batches[0].Messages {
		got = append(got, m.ID)
	}
	for id, r := range w.rows {
		if match(id, r) && !w.locked(nil, id) {
			r.leased, r.token = true, c.Token
			r.deliveries++
			w.rows[id] = r
			want = append(want, id)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	w.want("claimed", got, want)
	w.compare()
}

// settle ends, or breaks off, one run.
func (w *world) settle() {
	var leased []int64
	for _, id := range slices.Sorted(maps.Keys(w.rows)) {
		if w.rows[id].leased && !w.locked(nil, id) { // an acknowledgement would wait
			leased = append(leased, id)
		}
	}
	if len(leased) == 0 {
		return
	}
	id := leased[w.rng.IntN(len(leased))]
	r := w.rows[id]
	o := store.Outcome{Lease: store.Lease{ID: id, Token: r.token}, Kind: store.Ack}
	if w.rng.IntN(2) == 0 {
		o.Delay = time.Hour
	}
	after := r
	after.leased, after.token, after.due = false, uuid.Nil, o.Delay == 0
	switch w.rng.IntN(6) {
	case 0, 1:
		w.say("a worker acknowledges %d", id)
		delete(w.rows, id)
	case 2, 3:
		w.say("a worker fails with %d, again at once=%v", id, after.due)
		o.Kind = store.Retry
		after.attempts++
		w.rows[id] = after
	case 4:
		w.say("a worker hands %d back, again at once=%v", id, after.due)
		o.Kind = store.Release
		after.deliveries--
		w.rows[id] = after
	case 5:
		w.say("the worker that has %d dies, another takes over, and the first comes late", id)
		w.on.abandon(w.t, id)
		w.take(store.Claim{Queue: "reminders", Limit: 100, ExpiredAfter: time.Hour}, func(other int64, _ modelRow) bool { return other == id })
	}
	done, err := w.on.store().Exchange(w.t.Context(), []store.Outcome{o}, nil)
	w.is.NoErr(err)
	_, there := w.rows[id]
	late := there && o.Kind == store.Ack
	w.want("settled", len(done.Settled) == 1, !late)
	w.compare()
}

// compare reads what is committed.
func (w *world) compare() {
	w.t.Helper()
	w.want("table", w.on.rows(w.t), w.rows)
}

// committed is what the table holds.
func committed(t testing.TB, pool *pgxpool.Pool) map[int64]modelRow {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT id, COALESCE(timer_id, ''), convert_from(payload, 'UTF8'), next_attempt_at <= now(),
		acquired_token IS NOT NULL, COALESCE(acquired_token, '00000000-0000-0000-0000-000000000000'), attempts_count::int, deliveries_count::int FROM outbox`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]modelRow{}
	var id int64
	var r modelRow
	var token [16]byte
	_, err = pgx.ForEachRow(rows, []any{&id, &r.timer, &r.payload, &r.due, &r.leased, &token, &r.attempts, &r.deliveries}, func() error {
		r.token = token
		got[id] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
