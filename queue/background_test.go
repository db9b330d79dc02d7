package queue_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
)

type backgroundLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *backgroundLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *backgroundLog) says(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), part)
}

// backgroundWorker runs a worker with one function beside it, and returns what
// stops it and what it logs.
func backgroundWorker(t *testing.T, run func(context.Context, *pgxpool.Pool, *slog.Logger) error) (stop func() error, log *backgroundLog) {
	t.Helper()
	schema, err := queue.Outbox{}.SQL()
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t, pgtest.Schema(schema))
	log = &backgroundLog{}
	w, err := queue.NewWorker(db.Pool, queue.New("q").Handle(func(context.Context, *queue.Delivery) error { return nil }),
		queue.Logger(slog.New(slog.NewTextHandler(log, nil))), queue.Background("report", run))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop, log
}

func TestBackground_EndsWithTheWorker(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	began, ended := make(chan int, 1), make(chan struct{})
	stop, log := backgroundWorker(t, func(ctx context.Context, db *pgxpool.Pool, log *slog.Logger) error {
		defer close(ended)
		var one int
		if err := db.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			return err
		}
		log.Info("reporting")
		began <- one
		<-ctx.Done()
		return ctx.Err()
	})
	is.Equal(<-began, 1)
	is.NoErr(stop())
	select {
	case <-ended: // before Run returned
	default:
		t.Error("Run did not wait for it")
	}
	is.True(log.says("reporting"))
	is.True(log.says("background=report"))
	is.True(!log.says("level=ERROR")) // to end because one is told to is no failure
}

func TestBackground_IsRunAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	calls := 0
	again := make(chan struct{})
	stop, log := backgroundWorker(t, func(context.Context, *pgxpool.Pool, *slog.Logger) error {
		calls++
		if calls == 1 {
			panic("no paper")
		}
		close(again)
		return nil // done, and not run a third time
	})
	select {
	case <-again:
	case <-time.After(20 * time.Second):
		t.Fatal("it was not run again")
	}
	is.True(log.says("background function failed"))
	is.True(log.says("no paper"))
	is.NoErr(stop())
	is.Equal(calls, 2)
}

func TestBackground_ThatIgnoresItsContextIsLeftBehind(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	began, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	stop, log := backgroundWorker(t, func(context.Context, *pgxpool.Pool, *slog.Logger) error {
		close(began)
		<-release
		return nil
	})
	<-began
	is.NoErr(stop())
	is.True(log.says("ignores its context"))
}

func TestBackground_IsCheckedWithTheWorker(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	bad := errors.New("bad")
	_, err := queue.NewWorker(nil, queue.Background("report", nil), queue.BadOption(bad), queue.BadOption(nil))
	is.True(errors.Is(err, bad))
	is.True(strings.Contains(err.Error(), `background "report": the function is nil`))
}
