package typed_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// sized is an account of so many bytes when encoded.
func sized(n int) account { return account{Name: strings.Repeat("x", n-len(`""`))} }

// filled are headers of so many bytes together when encoded.
func filled(n int) []queue.MessageOption {
	rest := n - len(`{"content-type":"application/json","correlation_id":"c","h":""}`)
	return []queue.MessageOption{queue.CorrelationID("c"), queue.Headers(map[string]string{"h": strings.Repeat("x", rest)})}
}

func TestLimits_HoldOnEveryWayIn(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	tests := []struct {
		name  string
		queue typed.Queue[account]
		value account
		opts  []queue.MessageOption
		want  error
	}{
		{"payload at the limit", accounts.MaxBytes(100), sized(100), nil, nil},
		{"payload over the limit", accounts.MaxBytes(100), sized(101), nil, queue.ErrTooLarge},
		{"no limit", accounts.MaxBytes(0), sized(101), nil, nil},
		{"headers at the limit", accounts, sized(2), filled(queue.MaxHeaders), nil},
		{"headers over the limit", accounts, sized(2), filled(queue.MaxHeaders + 1), queue.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for way, send := range ways(t.Context(), tt.queue, tt.value, tt.opts...) {
				if way == "COPY" && tt.want == nil && tt.opts != nil {
					continue // 130 MB
				}
				t.Run(way, func(t *testing.T) {
					t.Parallel()
					is := is.New(t)
					tx, err := db.Pool.Begin(t.Context())
					is.NoErr(err)
					defer func() { is.NoErr(tx.Rollback(context.WithoutCancel(t.Context()))) }()
					err = send(tx)
					is.True(errors.Is(err, tt.want))
					if err != nil { // refused before anything was sent: the transaction is as it was
						_, err = tx.Exec(t.Context(), "SELECT 1")
						is.NoErr(err)
					}
				})
			}
		})
	}
}

func TestLimits_AreAMegabyteUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	for n, want := range map[int]error{1 << 20: nil, 1<<20 + 1: queue.ErrTooLarge} {
		_, err := accounts.Publish(t.Context(), queue.Autocommit(db.Pool), sized(n))
		is.True(errors.Is(err, want))
	}
}

func TestLimits_HoldForRecurringWork(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db, w := newDB(t), &witness{}
	small := accounts.MaxBytes(100)
	recur := func(id string, n int) queue.WorkerOption {
		return small.Recur(id, timers.Every(100*time.Millisecond), func(timers.Tick) account { return sized(n) })
	}
	got := make(chan account, 100)
	stop := start(t, db.Pool, queue.Logger(w.logger()), recur("fits", 100), recur("passes", 101), small.Handle(func(_ context.Context, v account) error {
		got <- v
		return nil
	}))
	is.Equal(next(t, got), sized(100))
	w.await(t, "message too large: payload has 101 bytes, the limit is 100")
	is.NoErr(stop())
	for len(got) > 0 {
		is.Equal(<-got, sized(100))
	}
}

func TestLimits_HoldForWhatIsMendedOnItsWayBack(t *testing.T) {
	t.Parallel()
	typedFix := func(n int) dlq.ReplayOption {
		return accounts.MaxBytes(100).DeadLetters().Fix(func(account) (account, error) { return sized(n), nil })
	}
	fix := func(payload, contentType int) dlq.ReplayOption {
		return dlq.Fix(func(dlq.Letter) (dlq.Fixed, error) {
			return dlq.Fixed{Payload: make([]byte, payload), ContentType: strings.Repeat("c", contentType)}, nil
		})
	}
	all, small := dlq.In(queue.Outbox{}), dlq.Of(accounts.MaxBytes(100).Bytes())
	const room = queue.MaxHeaders - len(`{"content-type": "application/json", "h": "x"}`) + len("application/json")
	for _, tt := range []struct {
		name    string
		letters dlq.Letters
		payload int // of the letter
		fix     dlq.ReplayOption
		want    error
	}{
		{"a value at the limit", small, 2, typedFix(100), nil},
		{"a value over the limit", small, 2, typedFix(101), queue.ErrTooLarge},
		{"bytes at the queue's limit", small, 2, fix(100, 0), nil},
		{"bytes over the queue's limit", small, 2, fix(101, 0), queue.ErrTooLarge},
		{"bytes of any queue at the default limit", all, 2, fix(queue.DefaultMaxBytes, 0), nil},
		{"bytes of any queue over the default limit", all, 2, fix(queue.DefaultMaxBytes+1, 0), queue.ErrTooLarge},
		{"bytes of any queue that were that many", all, queue.DefaultMaxBytes + 1, fix(queue.DefaultMaxBytes+1, 0), nil},
		{"headers at the limit", all, 2, fix(2, room), nil},
		{"headers over the limit", all, 2, fix(2, room+1), queue.ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			var id int64
			is.NoErr(db.Pool.QueryRow(t.Context(), `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failure_reason)
				VALUES (1, 'accounts', $1, '{"content-type": "application/json", "h": "x"}', 1, now(), 'rejected') RETURNING id`,
				[]byte(`"`+strings.Repeat("x", tt.payload-2)+`"`)).Scan(&id))
			for _, replay := range []func(tx pgx.Tx) (dlq.Replayed, error){
				func(tx pgx.Tx) (dlq.Replayed, error) { return tt.letters.Replay(t.Context(), tx, []int64{id}, tt.fix) },
				func(tx pgx.Tx) (dlq.Replayed, error) {
					return tt.letters.ReplayAll(t.Context(), tx, dlq.Filter{}, tt.fix)
				},
			} {
				tx, err := db.Pool.Begin(t.Context())
				is.NoErr(err)
				done, err := replay(tx)
				is.NoErr(tx.Rollback(t.Context()))
				is.NoErr(err)
				if tt.want == nil {
					is.Equal(done.Moved, int64(1))
					continue
				}
				is.Equal(len(done.Skips), 1)
				is.True(errors.Is(done.Skips[0].Err, tt.want))
			}
		})
	}
}
