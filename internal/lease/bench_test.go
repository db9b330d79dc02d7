package lease

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

// endless is a store that costs next to nothing: it makes up rows when they are
// claimed and believes all outcomes.
type endless struct{ left atomic.Int64 } // rows not yet claimed

func (s *endless) Exchange(_ context.Context, outcomes []store.Outcome, claims []store.Claim) (store.Exchanged, error) {
	done := store.Exchanged{Settled: make([]int64, len(outcomes))}
	for i, o := range outcomes {
		done.Settled[i] = o.ID
	}
	for _, c := range claims {
		left := s.left.Add(-int64(c.Limit)) + int64(c.Limit)
		b := store.Batch{Messages: make([]store.Claimed, max(0, min(int64(c.Limit), left)))}
		for i := range b.Messages {
			b.Messages[i].Lease = store.Lease{ID: left - int64(i), Token: c.Token}
		}
		done.Batches = append(done.Batches, b)
	}
	return done, nil
}

func (s *endless) Bury(context.Context, []store.Outcome) ([]int64, []int64, error) {
	return nil, nil, nil
}
func (s *endless) Extend(context.Context, []store.Lease) ([]int64, error) { return nil, nil }
func (s *endless) Tell(context.Context, []string) error                   { return nil }
func (s *endless) Return(context.Context, []string, []uuid.UUID) error    { return nil }
func (s *endless) Look(context.Context, []store.Watch) ([]store.Outlook, error) {
	return []store.Outlook{{HasNext: true}}, nil
}

// BenchmarkEngine delivers b.N messages to a handler that does nothing.
func BenchmarkEngine(b *testing.B) {
	for _, kind := range []string{"none", "memory"} {
		for _, size := range []struct{ concurrency, batch int }{{1, 1}, {16, 1}, {2, 100}} {
			b.Run(fmt.Sprintf("store=%s/concurrency=%d/batch=%d", kind, size.concurrency, size.batch), func(b *testing.B) {
				made := &endless{}
				made.left.Store(int64(b.N))
				var s store.Store = made
				if kind == "memory" {
					s = filled(b)
				}
				ctx, cancel := context.WithCancel(b.Context())
				defer cancel()
				var done atomic.Int64
				e := New(Config{
					Store: s, Poll: time.Minute, BlindPoll: time.Minute, Grace: time.Minute,
					Log: slog.New(slog.DiscardHandler),
					Queues: []Queue{{
						Name: "q", Concurrency: size.concurrency, Batch: size.batch, Ahead: -1, Lease: time.Minute,
						Process: func(_ context.Context, work []store.Claimed) []store.Outcome {
							out := make([]store.Outcome, len(work))
							for i := range out {
								out[i].Kind = store.Ack
							}
							if done.Add(int64(len(work))) == int64(b.N) {
								cancel()
							}
							return out
						},
					}},
				})
				b.ReportAllocs()
				b.ResetTimer()
				if err := e.Run(ctx); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

// filled is a memory store with b.N messages.
func filled(b *testing.B) *memory.Store {
	s := memory.New()
	for n := b.N; n > 0; n -= 1000 {
		if _, err := s.Publish(b.Context(), drafts(min(n, 1000))...); err != nil {
			b.Fatal(err)
		}
	}
	return s
}
