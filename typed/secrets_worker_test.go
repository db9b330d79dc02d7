package typed_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// What a worker says while everything fails that can fail. No handler here puts the
// marker into an error of its own, for that is shown.
func TestSecrets_AreInNoLog(t *testing.T) {
	t.Parallel()
	fails := func(context.Context, account) error { return errBroken }
	inTx := func(sql string) func(context.Context, pgx.Tx, account) error {
		return func(ctx context.Context, tx pgx.Tx, v account) error {
			_, err := tx.Exec(ctx, sql, v.Name)
			return err
		}
	}
	heldTx := func(sql string) func(context.Context, pgx.Tx, []*typed.Message[account]) []error {
		return func(ctx context.Context, tx pgx.Tx, ms []*typed.Message[account]) []error {
			outcomes := make([]error, len(ms))
			for i, m := range ms {
				outcomes[i] = inTx(sql)(ctx, tx, m.Value)
			}
			return outcomes
		}
	}
	const (
		insert = "INSERT INTO effects VALUES ($1)"
		// Errors that quote the row in their details, at the statement and at the commit.
		unique   = "CREATE TABLE effects (name text UNIQUE); INSERT INTO effects VALUES ('" + marker + "')"
		deferred = "CREATE TABLE effects (name text UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO effects VALUES ('" + marker + "')"
		noGraves = "ALTER TABLE outbox_dlq ADD CHECK (queue = '')"
	)
	twice := queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 2})
	for _, tt := range []struct {
		name    string
		sql     string // before
		payload string // default: a value that decodes
		work    []queue.WorkerOption
		says    []string
	}{
		{"undecodable payload", "", `{"bad": "` + marker + `"}`, []queue.WorkerOption{accounts.Handle(fails)},
			[]string{"message becomes a dead letter", "decode_error"}},
		{"undecodable payload of a batch", "", marker, []queue.WorkerOption{accounts.HandleBatchTx(heldTx(insert))},
			[]string{"message becomes a dead letter", "decode_error"}},
		{"handler error, retry, dead letter", "", "", []queue.WorkerOption{accounts.Handle(fails), twice},
			[]string{"the message is tried again", "message becomes a dead letter", "retry_terminal"}},
		{"panic", "", "", []queue.WorkerOption{accounts.Handle(func(context.Context, account) error { panic(errBroken) }), twice},
			[]string{"panic: ", "message becomes a dead letter"}},
		{"panic of the runtime", "", "", []queue.WorkerOption{accounts.Handle(func(_ context.Context, v account) error {
			_ = any(v).(error) // it is none
			return nil
		}), twice}, []string{"interface conversion", "message becomes a dead letter"}},
		{"dead letters off", "", "", []queue.WorkerOption{accounts.Handle(fails), twice, queue.DeadLetters(false)},
			[]string{"message failed for good and is deleted"}},
		{"nothing settled", "", "", []queue.WorkerOption{accounts.Handle(func(context.Context, account) error { return nil }), twice, queue.Acknowledge(queue.Manual)},
			[]string{"handler returned without ack"}},
		{"retry policy that panics", "", "", []queue.WorkerOption{accounts.Handle(fails), queue.RetryFunc(func(*queue.Delivery, retry.Failure) retry.Decision { panic(errBroken) })},
			[]string{"retry policy failed"}},
		{"delivered too often", "UPDATE outbox SET deliveries_count = 5", "", []queue.WorkerOption{accounts.Handle(fails), queue.MaxDeliveries(1)},
			[]string{"max_deliveries"}},
		{"publish of the handler", "", "", []queue.WorkerOption{accounts.Handle(func(ctx context.Context, v account) error {
			_, err := accounts.MaxBytes(1).Publish(ctx, queue.Autocommit((*pgxpool.Pool)(nil)), v)
			return err
		}), twice}, []string{"message too large"}},
		{"unique violation in the handler's transaction", unique, "", []queue.WorkerOption{accounts.HandleTx(inTx(insert)), twice},
			[]string{"23505", "message becomes a dead letter"}},
		{"unique violation at the commit", deferred, "", []queue.WorkerOption{accounts.HandleTx(inTx(insert)), twice},
			[]string{"23505", "message becomes a dead letter"}},
		{"unique violation in a batch", unique, "", []queue.WorkerOption{accounts.HandleBatchTx(heldTx(insert)), twice},
			[]string{"23505", "message becomes a dead letter"}},
		{"unique violation at the commit of a batch", deferred, "", []queue.WorkerOption{accounts.HandleBatchTx(heldTx(insert)), twice},
			[]string{"23505", "a batch failed as a whole", "message becomes a dead letter"}},
		{"syntax error in a batch", "", "", []queue.WorkerOption{accounts.HandleBatchTx(heldTx("NONSENSE $1")), twice},
			[]string{"42601", "message becomes a dead letter"}},
		{"dead letter that cannot be written", noGraves, "", []queue.WorkerOption{accounts.Handle(fails), twice},
			[]string{"cannot write dead letters", "23514"}},
		{"dead letter of a batch that cannot be written", noGraves, "", []queue.WorkerOption{accounts.HandleBatchTx(heldTx("NONSENSE $1")), twice},
			[]string{"cannot write dead letters", "23514"}},
		{"missing dead-letter table", "DROP TABLE outbox_dlq", "", []queue.WorkerOption{accounts.Handle(fails), twice, dlq.In(queue.Outbox{}).Retain(time.Hour, dlq.Every(time.Millisecond))},
			[]string{"cannot write dead letters", "cannot remove old dead letters", "42P01"}},
		{"missing table", "DROP TABLE outbox", "", []queue.WorkerOption{accounts.Handle(fails)},
			[]string{"cannot reach the outbox", "42P01"}},
		{"missing table of a batch", "DROP TABLE outbox", "", []queue.WorkerOption{accounts.HandleBatchTx(heldTx(insert))},
			[]string{"cannot handle messages in a transaction", "42P01"}},
		{"outcome that cannot be written", "ALTER TABLE outbox ADD CHECK (attempts_count = 0)", "", []queue.WorkerOption{accounts.Handle(fails), queue.Retry(retry.Constant{})},
			[]string{"cannot reach the outbox", "23514"}},
		{"recurring work whose message does not encode", "", "", []queue.WorkerOption{accounts.Handle(fails), twice,
			accounts.Recur("nightly", timers.Every(100*time.Millisecond), func(timers.Tick) account { return account{marker, true} })},
			[]string{"accounts.ticks.nightly", "codec: encode"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db, w := newDB(t), &witness{}
			payload := tt.payload
			if payload == "" {
				payload = `"` + marker + `"`
			}
			for range 2 {
				_, err := accounts.Bytes().Publish(t.Context(), queue.Autocommit(db.Pool), []byte(payload), queue.ContentType("application/json"), inHeader)
				is.NoErr(err)
			}
			_, err := db.Pool.Exec(t.Context(), tt.sql, pgx.QueryExecModeSimpleProtocol)
			is.NoErr(err)
			stop := start(t, db.Pool, append(tt.work, queue.Logger(w.logger()))...)
			w.await(t, tt.says...)
			is.NoErr(stop())
			w.check(t)
		})
	}
}

func TestSecrets_AreInNoLogOfALostLease(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db, w := newDB(t), &witness{}
	_, err := accounts.Publish(t.Context(), queue.Autocommit(db.Pool), secret, inHeader)
	is.NoErr(err)
	stop := start(t, db.Pool, queue.Logger(w.logger()), queue.Lease(300*time.Millisecond), accounts.Handle(func(ctx context.Context, _ account) error {
		_, err := db.Pool.Exec(ctx, "UPDATE outbox SET acquired_token = gen_random_uuid(), acquired_at = now() + interval '1 hour'")
		<-ctx.Done()
		return errors.Join(err, context.Cause(ctx))
	}))
	w.await(t, "lease lost; the handler is cancelled", "lease was lost")
	is.NoErr(stop())
	w.check(t)
}

func TestSecrets_AreInNoErrorOfWhatIsLookedAt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, headers, timer_id, next_attempt_at) VALUES ('accounts', $1, $2, 't', 'infinity')`,
		`{"bad": "`+marker+`"}`, `{"content-type": "application/json", "h": "`+marker+`"}`)
	is.NoErr(err)
	_, err = db.Pool.Exec(t.Context(), `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason, timer_id)
		SELECT id, queue, payload, headers, 1, now(), 'rejected', timer_id FROM outbox`)
	is.NoErr(err)
	live, err := accounts.Timers().List(t.Context(), db.Pool, timers.Filter{}, timers.Page{})
	is.NoErr(err)
	discreet(t, live[0].Err)

	dead := accounts.DeadLetters()
	list, err := dead.List(t.Context(), db.Pool, dlq.Filter{}, dlq.Page{})
	is.NoErr(err)
	discreet(t, list[0].Err)
	big := strings.Repeat(marker, queue.DefaultMaxBytes/len(marker)+1)
	fixed := func(payload, contentType string) dlq.ReplayAllOption {
		return dlq.Fix(func(dlq.Letter) (dlq.Fixed, error) {
			return dlq.Fixed{Payload: []byte(payload), ContentType: contentType}, nil
		})
	}
	for name, opt := range map[string]dlq.ReplayAllOption{
		"a letter that does not decode":   dead.Fix(func(a account) (account, error) { return a, nil }),
		"a fix that fails":                dlq.Fix(func(dlq.Letter) (dlq.Fixed, error) { return dlq.Fixed{}, errBroken }),
		"a fix that panics":               dlq.Fix(func(dlq.Letter) (dlq.Fixed, error) { panic(errBroken) }),
		"a content type with a NUL":       fixed("", marker+"\x00"),
		"a content type over the limit":   fixed("", big),
		"a payload over the limit":        fixed(big, ""),
		"a timer whose id is live again":  fixed(marker, ""),
		"a timer that is live, not fixed": dlq.Limit(1),
	} {
		done, err := dead.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, opt)
		is.NoErr(err)
		if len(done.Skips) != 1 {
			t.Errorf("%s: %+v", name, done)
			continue
		}
		discreet(t, done.Skips[0].Err)
	}
}

// ErrorText is for handlers whose errors are not fit to be seen. It has the last
// word wherever they would be.
func TestSecrets_AreInNothingThatErrorTextRedacts(t *testing.T) {
	t.Parallel()
	said := errors.New(marker)
	redacted := queue.ErrorText(func(error) string { return "redacted" })
	readOnly := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SET TRANSACTION READ ONLY")
		if err == nil {
			_, err = tx.Exec(ctx, "CREATE TABLE t ()")
		}
		return errors.Join(said, err)
	}
	const deferred = `CREATE TABLE effects (n int); CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '` + marker + `'; END $$;
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`
	effect := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO effects VALUES (1)")
		return err
	}
	returns := func(err error) queue.Subscription {
		return accounts.Handle(func(context.Context, account) error { return err })
	}
	for _, tt := range []struct {
		name string
		work queue.Subscription
		says []string
	}{
		{"an error", returns(said), []string{"the message is tried again", "message becomes a dead letter", "error=redacted"}},
		{"a permanent one", returns(queue.Permanent(said)), []string{"message becomes a dead letter", "error=redacted"}},
		{"a reason to discard", returns(queue.Discard(marker)), []string{"message discarded", "redacted"}},
		{"a reason to reject", accounts.HandleMessage(func(_ context.Context, m *typed.Message[account]) error { return m.Reject(marker) }),
			[]string{"message becomes a dead letter", "error=redacted"}},
		{"a panic", accounts.Handle(func(context.Context, account) error { panic(marker) }), []string{"message becomes a dead letter", "error=redacted"}},
		{"a batch", accounts.HandleBatch(func(_ context.Context, ms []*typed.Message[account]) []error { return []error{said, said} }),
			[]string{"message becomes a dead letter", "error=redacted"}},
		{"a transaction", accounts.HandleTx(func(context.Context, pgx.Tx, account) error { return said }), []string{"message becomes a dead letter", "error=redacted"}},
		{"a transaction that takes no writes", accounts.HandleTx(func(ctx context.Context, tx pgx.Tx, _ account) error { return readOnly(ctx, tx) }),
			[]string{"handler's transaction was not committed", "error=redacted"}},
		{"a commit that is refused", accounts.HandleTx(func(ctx context.Context, tx pgx.Tx, _ account) error { return effect(ctx, tx) }),
			[]string{"message becomes a dead letter", "error=redacted"}},
		{"a batch whose commit is refused", accounts.HandleBatchTx(func(ctx context.Context, tx pgx.Tx, ms []*typed.Message[account]) []error {
			return append(make([]error, len(ms)-1), effect(ctx, tx))
		}), []string{"a batch failed as a whole", "message becomes a dead letter", "error=redacted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db, w := newDB(t), &witness{}
			_, err := db.Pool.Exec(t.Context(), deferred, pgx.QueryExecModeSimpleProtocol)
			is.NoErr(err)
			_, err = accounts.PublishBatch(t.Context(), queue.Autocommit(db.Pool), []account{{Name: "a"}, {Name: "b"}})
			is.NoErr(err)
			stop := start(t, db.Pool, queue.Logger(w.logger()), redacted, queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 2}), tt.work)
			w.await(t, tt.says...)
			is.NoErr(stop())
			w.check(t)
			var kept int
			is.NoErr(db.Pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox_dlq WHERE last_exception <> 'redacted'").Scan(&kept))
			is.Equal(kept, 0)
		})
	}
}
