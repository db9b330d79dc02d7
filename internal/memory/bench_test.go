package memory_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

// BenchmarkExchange acks a batch, claims the next and publishes as many, on
// top of a backlog: what a claim costs must not grow with its depth, but for
// what the caches and the garbage collector make of it.
func BenchmarkExchange(b *testing.B) {
	const batch = 100
	for _, backlog := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("backlog=%d", backlog), func(b *testing.B) {
			s := memory.New(memory.Frozen())
			publish := func(n int) {
				drafts := make([]store.Draft, n)
				for i := range drafts {
					drafts[i] = store.Draft{Queue: "q", Payload: []byte("payload"), Delay: -rand.N(time.Hour)}
				}
				if _, err := s.Publish(b.Context(), drafts...); err != nil {
					b.Fatal(err)
				}
			}
			publish(backlog)
			var acks []store.Outcome
			for b.Loop() {
				ex, err := s.Exchange(b.Context(), acks, []store.Claim{{Queue: "q", Limit: batch, Token: uuid.New()}})
				if err != nil {
					b.Fatal(err)
				}
				acks = acks[:0]
				for _, m := range ex.Batches[0].Messages {
					acks = append(acks, store.Outcome{Lease: m.Lease, Kind: store.Ack})
				}
				publish(batch)
			}
			b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
