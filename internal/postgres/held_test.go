package postgres_test

import (
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/postgres"
	"github.com/letterbox-go/letterbox/internal/store"
)

// What a transaction has locked itself is still pending, and not passed over.
func TestHold_TellsWhatItPassedOver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	h := newHarness(t)
	ids, err := h.Publish(t.Context(), store.Draft{Queue: "q"}, store.Draft{Queue: "q"}, store.Draft{Queue: "q"})
	is.NoErr(err)
	hold := func(limit int) (store.Batch, func()) {
		tx, err := h.pool.BeginTx(t.Context(), postgres.HeldTx(time.Minute))
		is.NoErr(err)
		b, err := h.table.Hold(t.Context(), tx, store.Claim{Queue: "q", Limit: limit})
		is.NoErr(err)
		return b, func() { is.NoErr(tx.Rollback(t.Context())) }
	}
	for _, tt := range []struct {
		name           string
		first          int // held by another
		limit, got     int
		wantPassedOver bool
	}{
		{"all, and asked for more", 0, 10, 3, false},
		{"all that were asked for", 0, 2, 2, false},
		{"those that another left", 2, 10, 1, true},
		{"as many as another left", 2, 1, 1, false},
		{"nothing", 3, 10, 0, true},
	} {
		done := func() {}
		if tt.first > 0 {
			_, done = hold(tt.first)
		}
		b, undo := hold(tt.limit)
		if len(b.Messages) != tt.got || b.PassedOver != tt.wantPassedOver {
			t.Errorf("%s: got %d of %v, passed over %v", tt.name, len(b.Messages), ids, b.PassedOver)
		}
		undo()
		done()
	}
}
