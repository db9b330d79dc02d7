package guides_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/guides"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// schema is the domain's.
const schema = `
CREATE TABLE orders (id bigint PRIMARY KEY, state text NOT NULL);
CREATE TABLE accounts (name text PRIMARY KEY, cents bigint NOT NULL);
CREATE TABLE counted (key text PRIMARY KEY);
CREATE TABLE prices (product text PRIMARY KEY, version bigint NOT NULL, cents bigint NOT NULL);
CREATE TABLE report_texts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text bytea NOT NULL);
INSERT INTO orders VALUES (1, 'placed');
INSERT INTO accounts VALUES ('sales', 0);
`

func newDB(t *testing.T) *pgtest.DB {
	t.Helper()
	outbox, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(outbox+schema))
}

// work runs a worker until its queues have no message left, and waits for its end.
func work(t *testing.T, db *pgtest.DB, opts ...queue.WorkerOption) {
	t.Helper()
	w, err := queue.NewWorker(db.Pool, opts...)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, db, w)
}

func drain(t *testing.T, db *pgtest.DB, w *queue.Worker) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for end := time.Now().Add(time.Minute); value[int](t, db, "SELECT count(*) FROM outbox") > 0; {
		if time.Now().After(end) {
			t.Fatal("messages are left")
		}
		time.Sleep(time.Millisecond) // an outbox does not tell when it is empty
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func value[T any](t *testing.T, db *pgtest.DB, sql string, args ...any) (v T) {
	t.Helper()
	if err := db.Pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func commit(t *testing.T, db *pgtest.DB, f func(pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), db.Pool, f); err != nil {
		t.Fatal(err)
	}
}

func TestHandlers_MayGetAMessageTwice(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	keys := map[string]int{}
	s := &guides.Service{DB: db.Pool, Pay: func(_ context.Context, key string, _ int64) error { keys[key]++; return nil }}
	for range 2 {
		charge := guides.Charge{Order: 1, Cents: 250}
		is.NoErr(s.Count(t.Context(), charge))
		is.NoErr(s.Confirm(t.Context(), charge))
		is.NoErr(s.Collect(t.Context(), charge))
	}
	is.Equal(value[int64](t, db, "SELECT cents FROM accounts"), int64(250))
	is.Equal(keys, map[string]int{"charge-1": 2}) // for the provider to tell
	is.Equal(value[int](t, db, "SELECT count(*) FROM outbox WHERE queue = 'shipments'"), 1)
}

func TestBook_IsOneCommitWithTheMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	commit(t, db, func(tx pgx.Tx) error {
		_, err := guides.Charges.PublishBatch(t.Context(), tx, []guides.Charge{{Order: 1, Cents: 100}, {Order: 2, Cents: 20}})
		return err
	})
	work(t, db, guides.Charges.HandleTx(guides.Book))
	is.Equal(value[int64](t, db, "SELECT cents FROM accounts"), int64(120))
}

func TestSetPrice_TakesChangesInAnyOrder(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	for _, version := range []int64{2, 3, 1, 3} {
		commit(t, db, func(tx pgx.Tx) error {
			return guides.SetPrice(t.Context(), tx, guides.PriceChanged{Product: "tea", Version: version, Cents: 100 * version})
		})
	}
	is.Equal(value[int64](t, db, "SELECT cents FROM prices"), int64(300))
}

func TestBothVersions_ArriveAsTheNewOne(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	commit(t, db, func(tx pgx.Tx) error {
		_, err := queue.Publish(t.Context(), tx,
			guides.Deliveries.Draft(guides.Delivery{Street: "Low Road 1", Floor: 2}),
			guides.DeliveriesV2.Draft(guides.DeliveryV2{Address: []string{"High Road 2"}}))
		return err
	})
	got := make(chan string, 2)
	work(t, db, guides.BothVersions(func(_ context.Context, d guides.DeliveryV2) error {
		got <- fmt.Sprint(d.Address)
		return nil
	}))
	all := []string{<-got, <-got}
	slices.Sort(all)
	is.Equal(all, []string{"[High Road 2]", "[Low Road 1]"})
}

func TestFields_MayBeAddedAndMissing(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const json = "application/json"
	got, err := guides.Deliveries.Decode(json, []byte(`{"street": "Low Road 1", "lift": true}`))
	is.NoErr(err)
	is.Equal(got, guides.Delivery{Street: "Low Road 1"})
	_, err = guides.StrictDeliveries.Decode(json, []byte(`{"street": "Low Road 1", "lift": true}`))
	is.True(err != nil)
	for contentType, payload := range map[string]string{json: `{"id": 7}`, "application/msgpack": "\x81\xa2id\x07"} {
		r, err := guides.Reports.Decode(contentType, []byte(payload))
		is.NoErr(err)
		is.Equal(r.ID, int64(7))
	}
}

func TestReports_KeepTheirTextInATable(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	commit(t, db, func(tx pgx.Tx) error { return guides.SendReport(t.Context(), tx, []byte("all is well")) })
	is.NoErr(guides.RestReports(t.Context(), db.Pool, true))
	paused, err := queue.Outbox{}.Paused(t.Context(), db.Pool)
	is.NoErr(err)
	is.Equal(len(paused), 1)
	is.NoErr(guides.RestReports(t.Context(), db.Pool, false))

	pool, err := guides.OpenPool(t.Context(), db.DSN)
	is.NoErr(err)
	defer pool.Close()
	b := &branch{}
	w, err := guides.Sized(pool, &guides.Service{}, b)
	is.NoErr(err)
	drain(t, db, w)
	is.Equal(b.printed, "all is well")
	is.Equal(value[int](t, db, "SELECT count(*) FROM report_texts"), 0)
}

type branch struct{ printed string }

func (b *branch) Deliver(context.Context, guides.DeliveryV2) error { return nil }

func (b *branch) Print(text []byte) error {
	b.printed = string(text)
	return nil
}

func TestThroughPgBouncer_ListensElsewhere(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := guides.Charges.Publish(t.Context(), queue.Autocommit(db.Pool), guides.Charge{Order: 1, Cents: 5})
	is.NoErr(err)
	pool := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec })
	w, err := guides.ThroughPgBouncer(pool, db.DSN, queue.Subscriptions{guides.Charges.HandleTx(guides.Book)})
	is.NoErr(err)
	drain(t, db, w)
	is.Equal(value[int64](t, db, "SELECT cents FROM accounts"), int64(5))
}

func TestForward_HandsOnWhatPythonWrote(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	id := value[int64](t, db, `INSERT INTO outbox (queue, payload, headers)
		VALUES ('invoices', '{"number": "7"}', '{"content-type": "application/json", "correlation_id": "c-1"}') RETURNING id`)
	b := make(broker, 1)
	work(t, db, guides.Forward(guides.Invoices.Bytes(), b))
	is.Equal(<-b, fmt.Sprintf(`invoices %d {"number": "7"}`, id))
}

type broker chan string

func (b broker) Publish(_ context.Context, topic, id string, body []byte) error {
	b <- fmt.Sprintf("%s %s %s", topic, id, body)
	return nil
}

func TestLongWork_StopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	steps := 0
	step := func() { steps++; cancel(queue.ErrShutdown) }
	is.True(errors.Is(guides.Convert([]func(){step, step})(ctx, guides.Report{}), queue.ErrShutdown))
	is.Equal(steps, 1)
}
