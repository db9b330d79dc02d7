package dlq_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/queue"
)

func TestReplayAll_MovesWhatTheFilterSelects(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		for _, tt := range []struct {
			name    string
			letters dlq.Letters
			filter  dlq.Filter
			opts    []dlq.ReplayAllOption
			moved   int64
			batches int
		}{
			{"everything", letters, dlq.Filter{}, nil, 25, 2},
			{"a queue", letters, dlq.Filter{Queue: "orders"}, nil, 20, 1},
			{"of one queue", dlq.Of(queue.New("orders")), dlq.Filter{}, nil, 20, 1},
			{"in batches", letters, dlq.Filter{Queue: "orders"}, []dlq.ReplayAllOption{dlq.Batch(7)}, 20, 3},
			{"in batches that come out even", letters, dlq.Filter{}, []dlq.ReplayAllOption{dlq.Batch(5)}, 25, 7}, // one finds that a queue is at its end
			{"a limit", letters, dlq.Filter{}, []dlq.ReplayAllOption{dlq.Limit(12), dlq.Batch(5)}, 12, 4},
			{"a limit that is not reached", letters, dlq.Filter{Queue: "orders"}, []dlq.ReplayAllOption{dlq.Limit(100)}, 20, 1},
			{"a reason that none has", letters, dlq.Filter{Reason: "x"}, nil, 0, 2},
			{"no ids", letters, dlq.Filter{IDs: []int64{}}, nil, 0, 2},
			{"an age", letters, dlq.Filter{Queue: "orders", OlderThan: 10500 * time.Millisecond}, nil, 9, 1},
			{"with a fix", letters, dlq.Filter{}, []dlq.ReplayAllOption{dlq.Batch(6), dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
				return dlq.Fixed{Payload: l.Payload}, nil
			})}, 25, 5},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := newDB(t)
				fillMany(t, db, "orders", 20)
				fillMany(t, db, "mails", 5)
				batches := 0
				var last dlq.Progress
				done, err := tt.letters.ReplayAll(t.Context(), db, tt.filter, append(tt.opts, dlq.OnProgress(func(p dlq.Progress) {
					batches++
					is.Equal(p.Moved, last.Moved+int64(len(p.Moves)))
					last = p
				}))...)
				is.NoErr(err)
				is.Equal(done.Moved, tt.moved)
				is.Equal(len(done.Moves), int(tt.moved))
				is.Equal(last.Moved, tt.moved)
				is.Equal(batches, tt.batches)
				is.Equal(letterCount(t, db), 25-int(tt.moved))
				is.Equal(messageCount(t, db), int(tt.moved))
			})
		}
	})
}

func TestReplayAll_OldestFirst(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		ids := fill(t, db, put{age: time.Minute}, put{age: time.Hour}, put{age: time.Second})
		done, err := letters.ReplayAll(t.Context(), db, dlq.Filter{}, dlq.Batch(2))
		is.NoErr(err)
		is.Equal([]int64{done.Moves[0].Letter, done.Moves[1].Letter, done.Moves[2].Letter}, []int64{ids[1], ids[0], ids[2]})
		is.True(done.Moves[0].Message < done.Moves[1].Message && done.Moves[1].Message < done.Moves[2].Message)
	})
}

func TestReplayAll_TwoAtOnceMoveEachLetterOnce(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]dlq.ReplayAllOption{
		"plain": {dlq.Batch(37)},
		"with a fix": {dlq.Batch(37), dlq.Fix(func(l dlq.Letter) (dlq.Fixed, error) {
			return dlq.Fixed{Payload: l.Payload}, nil
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			const n = 5000
			fillMany(t, db.Pool, "orders", n)
			// The same letter in the queue twice would show by its payload.
			_, err := db.Pool.Exec(t.Context(), `UPDATE outbox_dlq SET payload = convert_to(original_id::text, 'UTF8')`)
			is.NoErr(err)
			var (
				both  sync.WaitGroup
				moved [2]int64
				errs  [2]error
			)
			for i := range moved {
				both.Go(func() {
					done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, opts...)
					moved[i], errs[i] = done.Moved, err
				})
			}
			both.Wait()
			is.NoErr(errors.Join(errs[:]...))
			is.Equal(moved[0]+moved[1], int64(n))
			t.Log("moved", moved)
			is.Equal(letterCount(t, db.Pool), 0)
			is.Equal(messageCount(t, db.Pool), n)
			is.Equal(get[int](t, db.Pool, "SELECT count(DISTINCT payload) FROM outbox"), n)
		})
	}
}

func TestReplayAll_PassesOverWhatOthersHaveInHand(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		ids := fill(t, db, put{}, put{}, put{}, put{})
		lock(t, db, ids[0], ids[2])
		done, err := letters.ReplayAll(t.Context(), db, dlq.Filter{}, dlq.Batch(1))
		is.NoErr(err)
		is.Equal(done.Moved, int64(2))
		is.Equal(done.Skipped, int64(0))
		n, err := letters.Purge(t.Context(), db, dlq.Everything())
		is.NoErr(err)
		is.Equal(n, int64(0))
		is.Equal(letterCount(t, db), 2)
	})
}

func TestReplayAll_SkipsTimersThatAreLiveAgain(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	_, err := db.Pool.Exec(t.Context(), `INSERT INTO outbox (queue, payload, timer_id, acquired_token, acquired_at)
		VALUES ('orders', '', 'a', NULL, NULL), ('orders', '', 'b', gen_random_uuid(), now())`)
	is.NoErr(err)
	ids := fill(t, db.Pool, put{timer: "a"}, put{}, put{timer: "b"}, put{timer: "c"}, put{timer: "c"}, put{timer: "c"}, put{})
	done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, dlq.Batch(2), dlq.Limit(100))
	is.NoErr(err)
	is.Equal(done.Moved, int64(3))
	is.Equal(done.Skipped, int64(4))
	for i, id := range []int64{ids[0], ids[2], ids[4], ids[5]} {
		is.Equal(done.Skips[i].Letter, id)
		is.True(errors.Is(done.Skips[i].Err, dlq.ErrTimerLive))
	}
	is.Equal(letterCount(t, db.Pool), 4)
	is.Equal(messageCount(t, db.Pool), 5)
}

func TestReplayAll_KeepsToItsRate(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 30)
	began := time.Now()
	batches := 0
	done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, dlq.Rate(50), dlq.OnProgress(func(p dlq.Progress) {
		batches++
		if at := time.Since(began); float64(p.Moved-int64(len(p.Moves))) > 50*at.Seconds() {
			t.Errorf("%d moved after %v", p.Moved, at)
		}
	}))
	is.NoErr(err)
	is.Equal(done.Moved, int64(30))
	is.True(batches >= 6)                              // ten a second
	is.True(time.Since(began) >= 500*time.Millisecond) // 25 of them at 50/s, and the last five at once
	is.True(time.Since(began) < 500*time.Millisecond+patience)
}

func TestReplayAll_CancelledInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]dlq.ReplayAllOption{
		"between batches":  {dlq.Batch(10)},
		"during its pause": {dlq.Rate(1e-9)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			fillMany(t, db.Pool, "orders", 50)
			ctx, cancel := context.WithCancelCause(t.Context())
			tired := errors.New("tired")
			done, err := letters.ReplayAll(ctx, db.Pool, dlq.Filter{}, append(opts, dlq.OnProgress(func(p dlq.Progress) {
				if p.Moved >= 20 {
					cancel(tired)
				} else if name == "during its pause" {
					time.AfterFunc(20*time.Millisecond, func() { cancel(tired) })
				}
			}))...)
			is.True(errors.Is(err, tired) || errors.Is(err, context.Canceled))
			is.True(done.Moved == 20 || done.Moved == 1)
			is.Equal(messageCount(t, db.Pool), int(done.Moved)) // what was moved is moved
			is.Equal(letterCount(t, db.Pool), 50-int(done.Moved))
		})
	}
}

func TestReplayAll_EndsThoughMessagesGoOnFailing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		fillMany(t, db, "orders", 10)
		done, err := letters.ReplayAll(t.Context(), db, dlq.Filter{}, dlq.Batch(2), dlq.OnProgress(func(dlq.Progress) {
			fill(t, db, put{}, put{queue: "mails"}) // as fast as they go
		}))
		is.NoErr(err)
		is.Equal(done.Moved, int64(10))
		n, err := letters.Purge(t.Context(), db, dlq.Everything(), dlq.Batch(2))
		is.NoErr(err)
		is.Equal(n, int64(12)) // six batches of orders, and the one that found their end
	})
}

func TestReplayAll_IsPartOfATransaction(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		is := is.New(t)
		db := newDB(t)
		fillMany(t, db, "orders", 10)
		tx, err := db.Begin(t.Context())
		is.NoErr(err)
		done, err := letters.ReplayAll(t.Context(), tx, dlq.Filter{}, dlq.Batch(3))
		is.NoErr(err)
		is.Equal(done.Moved, int64(10))
		is.Equal(letterCount(t, db), 10)
		is.NoErr(tx.Rollback(t.Context()))
		is.Equal(letterCount(t, db), 10)
		is.Equal(messageCount(t, db), 0)
	})
}

// A statement that fails moves none of its letters, and those before stay moved.
func TestReplayAll_FailsBetweenBatches(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 10)
	_, err := db.Pool.Exec(t.Context(), `ALTER TABLE outbox ADD CONSTRAINT no_more CHECK (payload <> 'bad')`)
	is.NoErr(err)
	_, err = db.Pool.Exec(t.Context(), `UPDATE outbox_dlq SET payload = 'bad' WHERE original_id = 8`)
	is.NoErr(err)
	done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{}, dlq.Batch(3))
	is.True(err != nil)
	is.Equal(done.Moved, int64(6))
	is.Equal(letterCount(t, db.Pool), 4)
	is.Equal(messageCount(t, db.Pool), 6)
}

func TestReplayAll_ByARoleThatMayOnlyLook(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 1)
	tx, err := db.Pool.Begin(t.Context())
	is.NoErr(err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), `CREATE ROLE looker; GRANT SELECT ON outbox_dlq TO looker; SET ROLE looker`, pgx.QueryExecModeSimpleProtocol)
	is.NoErr(err)
	list, err := letters.List(t.Context(), tx, dlq.Filter{}, dlq.Page{})
	is.NoErr(err)
	is.Equal(len(list), 1)
	_, err = letters.ReplayAll(t.Context(), tx, dlq.Filter{})
	is.True(err != nil)
	for _, part := range []string{"INSERT", "DELETE", "USAGE", "outbox_dlq"} {
		if !contains(err, part) {
			t.Errorf("%q does not say %s", err, part)
		}
	}
}

// Replays, and large publishes, draw ids for themselves.
func TestReplayAll_OfEachKindOfIDThatValidateTakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sql string }{
		{"identity", ``},
		{"identity always", `ALTER TABLE outbox ALTER id SET GENERATED ALWAYS`},
		{"a serial", `ALTER TABLE outbox ALTER id DROP IDENTITY; CREATE SEQUENCE s OWNED BY outbox.id; ALTER TABLE outbox ALTER id SET DEFAULT nextval('s')`},
		{"a sequence of nobody, mended", `ALTER TABLE outbox ALTER id DROP IDENTITY; CREATE SEQUENCE s; ALTER TABLE outbox ALTER id SET DEFAULT nextval('s')`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := newDB(t)
			_, err := db.Pool.Exec(t.Context(), tt.sql)
			is.NoErr(err)
			if drifted, ok := errors.AsType[*queue.SchemaError](queue.Outbox{}.Validate(t.Context(), db.Pool)); ok {
				is.Equal(len(drifted.Differences), 1)
				_, err = db.Pool.Exec(t.Context(), drifted.Differences[0].Mend)
				is.NoErr(err)
			}
			is.NoErr(queue.Outbox{}.Validate(t.Context(), db.Pool))

			drafts := make([]queue.Draft, 2500) // COPY takes them
			for i := range drafts {
				drafts[i] = queue.New("orders").Draft([]byte("x"))
			}
			commit(t, db.Pool, func(tx pgx.Tx) error {
				_, err := queue.Publish(t.Context(), tx, drafts...)
				return err
			})
			fillMany(t, db.Pool, "orders", 20)
			done, err := letters.ReplayAll(t.Context(), db.Pool, dlq.Filter{})
			is.NoErr(err)
			is.Equal(done.Moved, int64(20))
			is.Equal(get[int](t, db.Pool, `SELECT count(*) FROM outbox`), 2520)
		})
	}
}
