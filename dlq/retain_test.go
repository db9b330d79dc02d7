package dlq_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
)

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) wait(t *testing.T, part string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		found := strings.Contains(l.text.String(), part)
		l.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("the log never says %q:\n%s", part, l.text.String())
}

// handling is a subscription that a worker needs to be one.
var handling = queue.New("handled").Handle(func(context.Context, *queue.Delivery) error { return nil })

func TestRetain_RemovesWhatIsTooOld(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	ids := fill(t, db.Pool,
		put{age: 49 * time.Hour}, put{age: 47 * time.Hour}, put{queue: "mails", age: 1000 * time.Hour},
		put{reason: queue.ReasonDecodeError, age: 1000 * time.Hour})
	log := &logged{}
	stop := start(t, db.Pool, slog.New(slog.NewTextHandler(log, nil)), handling,
		letters.Retain(48*time.Hour, dlq.Every(20*time.Millisecond), dlq.Batch(1), dlq.Matching(dlq.Filter{Reason: queue.ReasonRejected})))
	eventually(t, db.Pool, 2, "SELECT count(*)::int FROM outbox_dlq")
	log.wait(t, "dead letters removed, for they are too old")
	log.wait(t, "removed=2")
	_, err := db.Pool.Exec(t.Context(), "UPDATE outbox_dlq SET failed_at = now() - interval '50 hours' WHERE id = $1", ids[1])
	is.NoErr(err)
	eventually(t, db.Pool, 1, "SELECT count(*)::int FROM outbox_dlq") // in a later round
	is.NoErr(stop())
}

func TestRetain_SeveralWorkersAtOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 500)
	_, err := db.Pool.Exec(t.Context(), "UPDATE outbox_dlq SET failed_at = failed_at - interval '1 day' WHERE original_id <= 400")
	is.NoErr(err)
	quiet := slog.New(slog.DiscardHandler)
	for range 3 {
		start(t, db.Pool, quiet, handling, letters.Retain(12*time.Hour, dlq.Every(10*time.Millisecond), dlq.Batch(7)))
	}
	eventually(t, db.Pool, 100, "SELECT count(*)::int FROM outbox_dlq")
}

func TestRetain_GoesOnOnceTheTableIsMended(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fill(t, db.Pool, put{age: 49 * time.Hour})
	_, err := db.Pool.Exec(t.Context(), "ALTER TABLE outbox_dlq RENAME TO elsewhere")
	is.NoErr(err)
	log := &logged{}
	start(t, db.Pool, slog.New(slog.NewTextHandler(log, nil)), handling, letters.Retain(48*time.Hour, dlq.Every(20*time.Millisecond)))
	log.wait(t, "cannot remove old dead letters")
	log.wait(t, "Outbox.Create")
	_, err = db.Pool.Exec(t.Context(), "ALTER TABLE elsewhere RENAME TO outbox_dlq")
	is.NoErr(err)
	eventually(t, db.Pool, 0, "SELECT count(*)::int FROM outbox_dlq")
}

func TestRetain_RefusesBadInput(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	for _, tt := range []struct {
		name   string
		option queue.WorkerOption
		says   string
	}{
		{"nothing to keep", letters.Retain(0), "keep for 0s"},
		{"less than nothing", letters.Retain(-time.Hour), "keep for -1h0m0s"},
		{"every moment", letters.Retain(time.Hour, dlq.Every(0)), "every 0s"},
		{"an age in the filter", letters.Retain(time.Hour, dlq.Matching(dlq.Filter{OlderThan: 1})), "age of its own"},
		{"a batch of nothing", letters.Retain(time.Hour, dlq.Batch(-1)), "batch is -1"},
		{"a bad filter", letters.Retain(time.Hour, dlq.Matching(dlq.Filter{Reason: "\x00"})), "reason"},
		{"zero letters", dlq.Letters{}.Retain(time.Hour), "zero value"},
		{"a bad table", dlq.In(queue.Outbox{Table: strings.Repeat("t", 70)}).Retain(time.Hour), "too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := queue.NewWorker(db.Pool, handling, tt.option)
			if err == nil || !contains(err, tt.says) || !contains(err, "retain dead letters") {
				t.Errorf("%v does not say %q", err, tt.says)
			}
		})
	}
}
