package lease

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func TestEngine_ALockedRowHoldsUpNothingElse(t *testing.T) {
	kinds := map[string]store.Outcome{
		"ack":     {Kind: store.Ack},
		"retry":   {Kind: store.Retry, Delay: time.Hour},
		"release": {Kind: store.Release, Delay: time.Hour},
		"bury":    {Kind: store.Bury, Reason: "because"},
	}
	for name, outcome := range kinds {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				finish := make(chan struct{})
				var got tally
				r.start(queueOf(one(func(_ context.Context, m store.Claimed) store.Outcome {
					got.add(m.ID)
					if got, _ := got.messages(); got == 1 {
						<-finish
						return outcome
					}
					return store.Outcome{Kind: store.Ack}
				})))
				id := r.publish(drafts(1)...)[0]
				unlock := r.lock(id)
				close(finish)
				r.publish(drafts(100)...)
				pass(10 * time.Millisecond)
				r.is.Equal(len(r.Rows()), 1) // the others are done

				r.forget()
				pass(10 * time.Minute) // much longer than a lease
				r.is.Equal(r.leased(), 1)
				writes := exchange
				if outcome.Kind == store.Bury {
					writes = bury
				}
				for _, c := range r.made(writes) {
					for _, o := range c.outcomes {
						r.is.True(o.Locked) // the store need not wait for it
					}
				}

				unlock()
				pass(lockedPause)
				r.is.Equal(r.leased(), 0)
				r.is.Equal(r.inHand(), 0)
				n, most := got.messages()
				r.is.Equal(n, 101)
				r.is.Equal(most, 1)
				r.is.Equal(r.logs.count(slog.LevelWarn)+r.logs.count(slog.LevelError), 0)
				r.end()
			})
		})
	}
}

// runLocked runs one message, whose row somebody has locked, until finish is called.
func (r *rig) runLocked(outcome store.Outcome) (finish, unlock func()) {
	running := make(chan struct{})
	r.start(queueOf(one(func(context.Context, store.Claimed) store.Outcome {
		<-running
		return outcome
	})))
	unlock = r.lock(r.publish(drafts(1)...)...)
	return func() { close(running) }, unlock
}

func TestEngine_ALockedRowIsWrittenByTheDrain(t *testing.T) {
	for name, outcome := range map[string]store.Outcome{"ack": {Kind: store.Ack}, "bury": {Kind: store.Bury}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				finish, unlock := r.runLocked(outcome)
				time.AfterFunc(lastWrites/4, unlock)
				finish()
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.True(took < lastWrites)
				r.is.Equal(r.leased(), 0)
				r.is.Equal(r.logs.count(slog.LevelError), 0)
			})
		})
	}
}

func TestEngine_ALockedRowDoesNotHoldUpTheDrain(t *testing.T) {
	for name, outcome := range map[string]store.Outcome{"ack": {Kind: store.Ack}, "bury": {Kind: store.Bury}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				finish, unlock := r.runLocked(outcome)
				r.forget()
				finish()
				took, err := r.stop()
				r.is.NoErr(err)
				r.is.True(took <= lastWrites)
				r.is.True(len(r.made()) < 50) // and it does not spin meanwhile
				r.is.Equal(r.leased(), 1)     // until the lease is over
				r.is.Equal(r.logs.count(slog.LevelError), 1)
				unlock()
			})
		})
	}
}
