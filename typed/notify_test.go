package typed_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// A worker that is only ever woken by notifications misses nothing, however the
// publishers' commits fall around its going to sleep.
func TestNotify_NothingIsMissed(t *testing.T) {
	t.Parallel()
	for name, handle := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDB(t)
			q := typed.NewQueue[int]("q")
			const publishers, each = 4, 250
			seed := uint64(time.Now().UnixNano())
			t.Log("seed", seed)

			got := make(chan int, publishers*each)
			for range 2 {
				start(t, db.Pool, queue.PollInterval(time.Hour), queue.BlindPollInterval(time.Hour), handle(q, got))
			}
			pool := db.Connect(t)
			var wg sync.WaitGroup
			rolledBack := errors.New("rolled back")
			for p := range publishers {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(p)))
					for i := range each {
						// Now bursts, now gaps in which the workers fall asleep.
						pause(t, time.Duration(rnd.ExpFloat64()*float64([]time.Duration{0, 2 * time.Millisecond, 40 * time.Millisecond}[rnd.IntN(3)])))
						err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
							if rnd.IntN(4) == 0 {
								_, err := q.Publish(t.Context(), tx, -1)
								return errors.Join(rolledBack, err)
							}
							_, err := q.Publish(t.Context(), tx, p*each+i)
							if rnd.IntN(4) == 0 { // commits late
								pause(t, time.Duration(rnd.IntN(20))*time.Millisecond)
							}
							return err
						})
						if errors.Is(err, rolledBack) {
							got <- p*each + i
						} else if err != nil {
							t.Error(err)
						}
					}
				})
			}
			seen := map[int]bool{}
			for range publishers * each {
				n := next(t, got)
				if n < 0 || seen[n] {
					t.Fatalf("got %d again, or though it was rolled back", n)
				}
				seen[n] = true
			}
			wg.Wait()
		})
	}
}

// pause waits for d or the end of the test.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// notifications counts what a table's channel carries until the returned function
// is called.
func notifications(t *testing.T, dsn string) (count func() int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "LISTEN outbox_outbox"); err != nil {
		t.Fatal(err)
	}
	return func() int {
		defer conn.Close(context.WithoutCancel(t.Context()))
		if _, err := conn.Exec(t.Context(), "SELECT pg_notify('outbox_outbox', 'end')"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for n := 0; ; n++ {
			got, err := conn.WaitForNotification(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got.Payload == "end" {
				return n
			}
		}
	}
}

func TestNotify_OnlyWhenSomebodySleeps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		notify   queue.Notify
		worker   bool
		inFlight bool // a transaction has published, and stays open
		ok       func(n, published int) bool
	}{
		{"no worker", queue.NotifySleeping, false, false, func(n, _ int) bool { return n == 0 }},
		{"a busy worker", queue.NotifySleeping, true, false, func(n, published int) bool { return n < published*9/10 }}, // on a slow machine it sleeps now and then
		{"a busy worker beside an import", queue.NotifySleeping, true, true, func(n, published int) bool { return n < published*9/10 }},
		{"always", queue.NotifyAlways, true, false, func(n, published int) bool { return n == published }},
		{"never", queue.NotifyNever, true, false, func(n, _ int) bool { return n == 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := newDB(t)
			q := typed.NewQueue[int]("q").In(queue.Outbox{Notify: tt.notify})
			const n = 400
			got := make(chan int, n)
			if tt.inFlight {
				tx, err := db.Pool.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback(context.WithoutCancel(t.Context()))
				if _, err := q.Publish(t.Context(), tx, -1); err != nil {
					t.Fatal(err)
				}
			}
			if tt.worker {
				start(t, db.Pool, queue.BlindPollInterval(10*time.Millisecond), q.Handle(func(_ context.Context, n int) error {
					got <- n
					return nil
				}))
			}
			count := notifications(t, db.DSN)
			for i := range n {
				if _, err := q.Publish(t.Context(), queue.Autocommit(db.Pool), i); err != nil {
					t.Fatal(err)
				}
			}
			if tt.worker {
				for range n {
					next(t, got)
				}
			}
			told := count()
			if !tt.ok(told, n) {
				t.Errorf("%d notifications for %d publishes", told, n)
			}
		})
	}
}

// A worker that leaves alone knows when what it has put off is due.
func TestNotify_WhatALeavingWorkerPutsOff(t *testing.T) {
	t.Parallel()
	const delay = time.Second
	handlers := map[string]func(q typed.Queue[int], h func() error) queue.Subscription{
		"leased": func(q typed.Queue[int], h func() error) queue.Subscription {
			return q.Handle(func(context.Context, int) error { return h() })
		},
		"leased, in a transaction": func(q typed.Queue[int], h func() error) queue.Subscription {
			return q.HandleTx(func(context.Context, pgx.Tx, int) error { return h() })
		},
		"held": func(q typed.Queue[int], h func() error) queue.Subscription {
			return q.HandleBatchTx(func(context.Context, pgx.Tx, []*typed.Message[int]) []error { return []error{h()} })
		},
	}
	decisions := map[string]error{"retry": queue.RetryAfter(errBroken, delay), "snooze": queue.Snooze(delay)}
	for form, handle := range handlers {
		for what, decision := range decisions {
			for _, leaves := range []string{"before", "after"} {
				t.Run(form+"/"+what+"/leaves "+leaves, func(t *testing.T) {
					t.Parallel()
					is := is.New(t)
					db := newDB(t)
					q := typed.NewQueue[int]("q")
					begun, finish, again := make(chan struct{}, 100), make(chan struct{}), make(chan struct{}, 1)
					w, err := queue.NewWorker(db.Pool, quietly, queue.PollInterval(time.Hour), handle(q, func() error {
						begun <- struct{}{}
						<-finish
						return decision
					}))
					is.NoErr(err)
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					left := make(chan error, 1)
					go func() { left <- w.Run(ctx) }()
					commit(t, db.Pool, func(tx pgx.Tx) error {
						_, err := q.Publish(t.Context(), tx, 1)
						return err
					})
					next(t, begun)
					other := db.Connect(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = "other" })
					start(t, other, queue.PollInterval(time.Hour), handle(q, func() error {
						again <- struct{}{}
						return nil
					}))
					// Once it sleeps, and has made its last claim, it must be told.
					eventually(t, db.Pool, true, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
							WHERE application_name = 'other' AND locktype = 'advisory' AND mode = 'ShareLock')
						AND NOT EXISTS (SELECT FROM pg_stat_activity
							WHERE application_name = 'other' AND (state <> 'idle' OR state_change > clock_timestamp() - interval '200 ms'))`)

					if leaves == "before" {
						leave()
						for w.Health().State != queue.Draining {
							pause(t, time.Millisecond)
						}
						close(finish)
					} else {
						close(finish)
						eventually(t, db.Pool, 1, `SELECT count(*)::int FROM outbox WHERE acquired_token IS NULL AND next_attempt_at >= created_at + $1::interval`, delay)
						leave()
					}
					is.NoErr(next(t, left))
					next(t, again)
				})
			}
		}
	}
}
