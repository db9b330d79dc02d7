package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/store"
)

// lock locks rows, as a transaction does that is rolled back in the end: nobody is
// told.
func (r *rig) lock(ids ...int64) (unlock func()) {
	tx := r.Begin(errors.New("the transaction has ended"))
	r.is.NoErr(tx.In(r.Store).Lock(context.Background(), ids...))
	return func() { r.is.NoErr(tx.Rollback()) }
}

func TestEngine_LooksAgainForWhatItPassedOver(t *testing.T) {
	bubble(t, func(r *rig) {
		r.cfg.Poll = time.Hour
		var got tally
		r.start(queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
			got.add(m.ID)
			return store.Outcome{Kind: store.Ack}
		})))
		handled := func(want int) {
			t.Helper()
			n, _ := got.messages()
			r.is.Equal(n, want)
		}
		soon := store.Draft{Queue: "q", Delay: time.Minute}

		unlock := r.lock(r.publish(soon)...)
		pass(time.Minute + 20*time.Millisecond) // it looked after 5 ms, and after 10 more
		unlock()
		pass(20 * time.Millisecond)
		handled(1)

		// A lock that lasts costs a claim a second, and one more where a floor
		// keeps that from seeing it.
		unlock = r.lock(r.publish(soon)...)
		pass(2 * time.Minute)
		r.forget()
		pass(time.Minute)
		handled(1)
		r.is.True(len(r.made()) <= 2*60)
		unlock()
		pass(time.Second)
		handled(2)

		// Then it is quick again, and quiet when there is nothing.
		unlock = r.lock(r.publish(soon)...)
		pass(time.Minute + 20*time.Millisecond)
		unlock()
		pass(20 * time.Millisecond)
		handled(3)
		r.forget()
		pass(30 * time.Minute)
		r.is.True(len(r.made()) <= 2) // one poll, and what it leads to
		r.end()
	})
}

func TestPassedOver_PauseGrowsUntilItIsOver(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var p passedOver
	grow := func() (all time.Duration) {
		for range 20 {
			all = p.next()
		}
		return all
	}
	sweep, above := store.Claim{}, store.Claim{Since: time.Now()}
	for _, tt := range []struct {
		name     string
		claim    store.Claim
		messages int
		over     bool
		want     time.Duration
	}{
		{"still locked", sweep, 0, true, maxAgain},
		{"still locked, above a floor", above, 0, true, maxAgain},
		{"nothing above the floor: it may be below", above, 0, false, maxAgain},
		{"nothing at all", sweep, 0, false, firstAgain},
		{"something came", sweep, 1, true, firstAgain},
		{"something came above the floor", above, 1, false, firstAgain},
	} {
		is.Equal(grow(), maxAgain)
		p.took(tt.claim, tt.messages, tt.over)
		if got := p.next(); got != tt.want {
			t.Errorf("%s: the next pause is %v, not %v", tt.name, got, tt.want)
		}
	}
}
