package timers_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// BenchmarkSchedule is about timers beside plain messages, alone and in batches,
// 10,000 of them in one transaction each time.
func BenchmarkSchedule(b *testing.B) {
	const n = 10_000
	drafts := make([]queue.Draft, n)
	batch := make([]timers.Timer, n)
	for i := range n {
		drafts[i] = text("some text of about sixty characters, to make a hundred bytes").With(queue.Delay(time.Hour))
		batch[i] = timers.Timer{ID: fmt.Sprintf("order-%d", i), After: time.Hour, Message: text("some text of about sixty characters, to make a hundred bytes")}
	}
	ways := []struct {
		name string
		do   func(tx pgx.Tx) error
	}{
		{"publish/one", func(tx pgx.Tx) error {
			for _, d := range drafts {
				if _, err := queue.Publish(b.Context(), tx, d); err != nil {
					return err
				}
			}
			return nil
		}},
		{"schedule/one", func(tx pgx.Tx) error {
			for _, t := range batch {
				if _, err := timers.ScheduleAfter(b.Context(), tx, t.ID, t.After, t.Message); err != nil {
					return err
				}
			}
			return nil
		}},
		{"reschedule/one", func(tx pgx.Tx) error {
			for _, t := range batch {
				if _, err := timers.RescheduleAfter(b.Context(), tx, t.ID, t.After, t.Message); err != nil {
					return err
				}
			}
			return nil
		}},
		{"publish/batch", func(tx pgx.Tx) error { _, err := queue.Publish(b.Context(), tx, drafts...); return err }},
		{"schedule/batch", func(tx pgx.Tx) error { _, err := timers.ScheduleBatch(b.Context(), tx, batch...); return err }},
	}
	db := newDB(b)
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				commit(b, db.Pool, way.do)
				b.StopTimer()
				for _, sql := range []string{"DELETE FROM outbox", "VACUUM outbox"} {
					if _, err := db.Pool.Exec(b.Context(), sql); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
