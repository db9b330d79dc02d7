package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

// observedDB is a database with an empty outbox.
func observedDB(t *testing.T) *pgtest.DB {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, pgtest.Schema(schema))
}

// observedWorker runs a worker until stop is called, or the test ends.
func observedWorker(t *testing.T, pool *pgxpool.Pool, opts ...queue.WorkerOption) (stop func() error) {
	t.Helper()
	w, err := queue.NewWorker(pool, append([]queue.WorkerOption{queue.Logger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// await waits until a condition holds that events bring about.
func await(t *testing.T, what string, changed <-chan struct{}, holds func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s never came", what)
		}
	}
}

// book collects events.
type book struct {
	mu          sync.Mutex
	outcomes    map[string]int // messages by outcome and reason
	ids         map[int64]bool
	dispatched  int
	fetched     int
	empty       int
	polled      int
	longest     time.Duration // of all lags
	settled     int
	lost        []queue.LeaseLost
	deadLetters []queue.DeadLettersWritten
	drains      []queue.DrainTimedOut
	listening   []queue.Listening
	changed     chan struct{}
}

func newBook() *book {
	return &book{outcomes: map[string]int{}, ids: map[int64]bool{}, changed: make(chan struct{}, 1)}
}

// noting makes a function of an observer.
func noting[E any](b *book, note func(E)) func(E) {
	return func(e E) {
		b.mu.Lock()
		defer b.mu.Unlock()
		note(e)
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
}

func (b *book) observer() queue.Observer {
	return queue.Observer{
		Polled: noting(b, func(e queue.Polled) { b.polled++ }),
		Fetched: noting(b, func(e queue.Fetched) {
			b.fetched += e.Messages
			if e.Messages == 0 && e.Err == nil {
				b.empty++
			}
			for _, d := range e.Lags {
				b.longest = max(b.longest, d)
			}
		}),
		Dispatched: noting(b, func(e queue.Dispatched) { b.dispatched += e.Messages }),
		Handled: noting(b, func(e queue.Handled) {
			b.outcomes[strings.TrimSpace(fmt.Sprintf("%s %s %s %s", e.Outbox, e.Queue, e.Outcome, e.Reason))] += len(e.IDs)
			for _, id := range e.IDs {
				b.ids[id] = true
			}
		}),
		Settled:       noting(b, func(e queue.Settled) { b.settled += e.Messages }),
		LeaseLost:     noting(b, func(e queue.LeaseLost) { b.lost = append(b.lost, e) }),
		DeadLetters:   noting(b, func(e queue.DeadLettersWritten) { b.deadLetters = append(b.deadLetters, e) }),
		DrainTimedOut: noting(b, func(e queue.DrainTimedOut) { b.drains = append(b.drains, e) }),
		Listening:     noting(b, func(e queue.Listening) { b.listening = append(b.listening, e) }),
	}
}

// await waits for what the book should hold.
func (b *book) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	await(t, what, b.changed, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return holds()
	})
}

// judge decides by the payload.
func judge(d *queue.Delivery) error {
	switch string(d.Payload) {
	case "fails once":
		if d.Attempt == 1 {
			return errors.New("not yet")
		}
	case "fails for good":
		return queue.Permanent(errors.New("never"))
	case "is no text":
		return queue.Undecodable(errors.New("bytes"))
	case "comes later":
		return queue.Snooze(time.Hour)
	case "is not wanted":
		return queue.Discard("a test")
	}
	return nil
}

func judgeAll(batch []*queue.Delivery) []error {
	out := make([]error, len(batch))
	for i, d := range batch {
		out[i] = judge(d)
	}
	return out
}

// ticks comes every few milliseconds until the test ends.
func ticks(t *testing.T) <-chan struct{} {
	c := make(chan struct{})
	done := t.Context().Done()
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			select {
			case <-done:
				return
			case c <- struct{}{}:
			}
		}
	}()
	return c
}
