package timers_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
	"github.com/letterbox-go/letterbox/timers"
)

// substrate is what timers live in: PostgreSQL, or the outbox in memory that users
// test with. What is said about timers is to be true of both.
type substrate interface {
	queue.Beginner
	store() store.Store
	// see is what the outbox holds, in the order of ids, as a transaction sees it.
	see(testing.TB, pgx.Tx) []row
	// rows is what is committed.
	rows(testing.TB) map[int64]modelRow
	// abandon makes a lease a day old.
	abandon(t testing.TB, id int64)
	// hold locks all rows in a transaction of somebody else's, and ack deletes
	// them in one.
	hold(t testing.TB, tx pgx.Tx)
	ack(t testing.TB, tx pgx.Tx)
}

// substrates has what makes an empty one, of each kind: each is the last one's end.
var substrates = map[string]func(testing.TB) func(testing.TB) substrate{
	"postgres": func(t testing.TB) func(testing.TB) substrate {
		p := onPostgres{newDB(t).Pool, bound(t)}
		return func(t testing.TB) substrate {
			if _, err := p.Exec(t.Context(), "DELETE FROM outbox"); err != nil {
				t.Fatal(err)
			}
			return p
		}
	},
	"memory": func(testing.TB) func(testing.TB) substrate {
		return func(t testing.TB) substrate { return inMemory{queuetest.New(t), bound(t)} }
	},
}

func bound(t testing.TB) *postgres.Table {
	t.Helper()
	table, err := postgres.Bind(postgres.Names{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

type onPostgres struct {
	*pgxpool.Pool
	t *postgres.Table
}

func (p onPostgres) store() store.Store                   { return postgres.NewStore(p.t, p.Pool) }
func (p onPostgres) see(t testing.TB, tx pgx.Tx) []row    { return table(t, tx) }
func (p onPostgres) hold(t testing.TB, tx pgx.Tx)         { runIn(t, tx, `SELECT FROM outbox FOR UPDATE`) }
func (p onPostgres) ack(t testing.TB, tx pgx.Tx)          { runIn(t, tx, `DELETE FROM outbox`) }
func (p onPostgres) rows(t testing.TB) map[int64]modelRow { return committed(t, p.Pool) }

func (p onPostgres) abandon(t testing.TB, id int64) {
	exec(t, p.Pool, `UPDATE outbox SET acquired_at = now() - interval '1 day' WHERE id = $1`, id)
}

func runIn(t testing.TB, tx pgx.Tx, sql string) {
	t.Helper()
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

type inMemory struct {
	*queuetest.Box
	table *postgres.Table
}

func (m inMemory) outbox() *memory.Store { return m.Store(m.table.Names()) }
func (m inMemory) store() store.Store    { return m.outbox() }

func (m inMemory) see(t testing.TB, tx pgx.Tx) []row {
	t.Helper()
	list, _, err := access.In(tx, m.table).ListMessages(t.Context(), "reminders")
	if err != nil {
		t.Fatal(err)
	}
	out := []row{}
	for _, r := range list {
		out = append(out, row{
			Payload: string(r.Payload), Timer: r.TimerID, In: int(r.DueAt.Sub(r.CreatedAt).Round(time.Second).Seconds()),
			Leased: r.Leased, Attempts: int(r.Attempts), Deliveries: int(r.Deliveries),
		})
	}
	return out
}

func (m inMemory) rows(testing.TB) map[int64]modelRow {
	all := map[int64]modelRow{}
	for _, r := range m.outbox().Rows() {
		all[r.ID] = modelRow{
			timer: r.TimerID, payload: string(r.Payload), due: !r.DueAt.After(m.Now()), leased: r.Token != uuid.Nil, token: r.Token,
			attempts: int(r.Attempts), deliveries: int(r.Deliveries),
		}
	}
	return all
}

func (m inMemory) abandon(_ testing.TB, id int64) { m.outbox().Abandon(id, 24*time.Hour) }

func (m inMemory) view(t testing.TB, tx pgx.Tx) *memory.View {
	t.Helper()
	v, ok := tx.(interface {
		View(*memory.Store) *memory.View
	})
	if !ok {
		t.Fatalf("%T is no transaction of a box", tx)
	}
	return v.View(m.outbox())
}

func (m inMemory) hold(t testing.TB, tx pgx.Tx) {
	t.Helper()
	for _, r := range m.outbox().Rows() {
		if err := m.view(t, tx).Lock(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func (m inMemory) ack(t testing.TB, tx pgx.Tx) {
	t.Helper()
	for _, r := range m.outbox().Rows() {
		if ours, err := m.view(t, tx).Ack(t.Context(), r.Lease); err != nil || !ours {
			t.Fatal(ours, err)
		}
	}
}

// open starts a transaction that the test's end rolls back.
func open(t testing.TB, db queue.Beginner) pgx.Tx {
	t.Helper()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

// put stores a timer in a transaction of its own.
func put(t testing.TB, db queue.Beginner, id string, after time.Duration, payload string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), db, func(tx pgx.Tx) error {
		_, err := timers.ScheduleAfter(t.Context(), tx, id, after, text(payload))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// take claims what is due, as a worker does.
func take(t testing.TB, s substrate) []store.Claimed {
	t.Helper()
	got, err := s.store().Exchange(t.Context(), nil, []store.Claim{{Queue: "reminders", Limit: 100, Token: uuid.New()}})
	if err != nil {
		t.Fatal(err)
	}
	return got.Batches[0].Messages
}

// fail claims what is due, and puts it off.
func fail(t testing.TB, s substrate, again time.Duration) {
	t.Helper()
	var outcomes []store.Outcome
	for _, m := range take(t, s) {
		outcomes = append(outcomes, store.Outcome{Lease: m.Lease, Kind: store.Retry, Delay: again})
	}
	if _, err := s.store().Exchange(t.Context(), outcomes, nil); err != nil {
		t.Fatal(err)
	}
}

// onEach runs a test on an empty outbox of each kind.
func onEach(t *testing.T, test func(*testing.T, substrate)) {
	t.Helper()
	for name, newSubstrates := range substrates {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newSubstrates(t)(t))
		})
	}
}
