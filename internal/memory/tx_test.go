package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

// payloads are those of a queue, as a view sees them.
func payloads(t *testing.T, v *memory.View, queue string) []string {
	t.Helper()
	list, _, err := v.ListMessages(t.Context(), queue)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, m := range list {
		out = append(out, string(m.Payload))
	}
	return out
}

func publishIn(t *testing.T, v *memory.View, payload string) {
	t.Helper()
	if _, err := v.Publish(t.Context(), []store.Draft{{Queue: "q", Payload: []byte(payload)}}); err != nil {
		t.Fatal(err)
	}
}

func TestTx_SpansStoresAndEndsOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	a := memory.New(memory.Frozen())
	b := a.Beside()
	var heard journal
	a.Listen(heard.listen)
	tx := a.Begin(errEnded)
	publishIn(t, tx.In(a), "a")
	publishIn(t, tx.In(b), "b")
	is.Equal(payloads(t, tx.In(a), "q"), []string{"a"})
	is.Equal(len(a.Rows())+len(b.Rows()), 0)
	is.Equal(len(heard.take()), 0)
	is.NoErr(tx.Commit())
	is.Equal(len(a.Rows()), 1)
	is.Equal(len(b.Rows()), 1)
	is.Equal(heard.take(), []string{"q"})

	is.Equal(tx.Commit(), errEnded)
	is.Equal(tx.Rollback(), errEnded)
	_, err := tx.In(a).Publish(t.Context(), []store.Draft{{Queue: "q"}})
	is.Equal(err, errEnded)

	rolledBack := a.Begin(errEnded)
	publishIn(t, rolledBack.In(a), "never")
	is.NoErr(rolledBack.Rollback())
	is.Equal(len(a.Rows()), 1)
}

func TestTx_SavepointsLetGoWhatWasLockedSince(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New(memory.Frozen())
	ids, err := s.Publish(t.Context(), store.Draft{Queue: "q"}, store.Draft{Queue: "q"})
	is.NoErr(err)
	tx := s.Begin(errEnded)
	is.NoErr(tx.In(s).Lock(t.Context(), ids[0]))
	publishIn(t, tx.In(s), "kept")
	point := tx.Savepoint()
	is.NoErr(tx.In(s).Lock(t.Context(), ids[1]))
	publishIn(t, tx.In(s), "undone")
	tx.RollbackTo(point)
	publishIn(t, tx.In(s), "after")

	claimed, err := s.Exchange(t.Context(), nil, []store.Claim{{Queue: "q", Limit: 9, Token: uuid.New()}})
	is.NoErr(err)
	is.Equal(len(claimed.Batches[0].Messages), 1) // ids[0] is locked still
	is.Equal(claimed.Batches[0].Messages[0].ID, ids[1])
	is.NoErr(tx.Commit())
	is.Equal(payloads(t, s.Begin(errEnded).In(s), "q"), []string{"", "", "kept", "after"})
}

// Where PostgreSQL waits for another transaction, so does this, and no longer than
// the context.
func TestTx_WaitsWherePostgreSQLDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		s := memory.New()
		timer := store.Draft{Queue: "q", TimerID: "t", Payload: []byte("first"), Delay: time.Hour}
		first := s.Begin(errEnded)
		_, err := first.In(s).ScheduleTimer(t.Context(), &timer)
		is.NoErr(err)

		second := s.Begin(errEnded)
		impatient, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = second.In(s).RescheduleTimer(impatient, &timer, store.TimerRules{})
		is.True(errors.Is(err, context.DeadlineExceeded))

		var w store.Written
		done := make(chan error)
		go func() {
			var err error
			w, err = second.In(s).ScheduleTimer(t.Context(), &timer)
			done <- err
		}()
		synctest.Wait()
		is.NoErr(first.Commit())
		is.NoErr(<-done)
		is.True(w.Found != nil) // the one of the first
		is.NoErr(second.Rollback())

		// An acknowledgement passes over what somebody has locked: here, who takes the timer's id from it.
		s.Advance(time.Hour)
		claimed, err := s.Exchange(t.Context(), nil, []store.Claim{{Queue: "q", Limit: 1, Token: uuid.New()}})
		is.NoErr(err)
		third := s.Begin(errEnded)
		w, err = third.In(s).RescheduleTimer(t.Context(), &timer, store.TimerRules{})
		is.NoErr(err)
		is.True(w.Parted)
		running := claimed.Batches[0].Messages[0].Lease
		ack := []store.Outcome{{Lease: running, Kind: store.Ack}}
		acked, err := s.Exchange(t.Context(), ack, nil)
		is.NoErr(err)
		is.Equal(acked.Locked, []int64{running.ID})
		go func() { done <- s.Unlocked(t.Context(), running.ID) }()
		synctest.Wait()
		is.NoErr(third.Commit())
		is.NoErr(<-done)
		acked, err = s.Exchange(t.Context(), ack, nil)
		is.NoErr(err)
		is.Equal(acked.Settled, []int64{running.ID})
		is.Equal(len(s.Rows()), 1) // the new timer
		is.Equal(s.Rows()[0].ID, w.ID)
	})
}

func TestView_HoldsSettlesAndBuries(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New(memory.Frozen())
	_, err := s.Publish(t.Context(), store.Draft{Queue: "q"}, store.Draft{Queue: "q"}, store.Draft{Queue: "q"}, store.Draft{Queue: "q"})
	is.NoErr(err)
	tx := s.Begin(errEnded)
	held, err := tx.In(s).Hold(t.Context(), store.Claim{Queue: "q", Limit: 4})
	is.NoErr(err)
	is.Equal(len(held.Messages), 4)
	is.Equal(held.Messages[0].Deliveries, int64(1))
	other, err := s.Begin(errEnded).In(s).Hold(t.Context(), store.Claim{Queue: "q", Limit: 4})
	is.NoErr(err)
	is.Equal(len(other.Messages), 0)
	is.True(other.PassedOver && !held.PassedOver)
	_, _, due := s.NextPending("q")
	is.True(!due) // they are locked
	tx.KeepWork()
	publishIn(t, tx.In(s), "undone")
	tx.UndoWork()
	lease := func(i int) store.Lease { return held.Messages[i].Lease }
	is.NoErr(tx.In(s).Bury(t.Context(), []store.Outcome{{Lease: lease(3), Kind: store.Bury, Reason: "r"}}))
	settled, err := tx.In(s).Settle(t.Context(), []store.Outcome{
		{Lease: lease(0), Kind: store.Ack}, {Lease: lease(1), Kind: store.Retry, Delay: time.Hour}, {Lease: lease(2), Kind: store.Release},
		{Lease: lease(3), Kind: store.Bury},
	})
	is.NoErr(err)
	is.Equal(len(settled), 3)
	is.Equal(len(s.Rows()), 4) // not before the commit
	is.NoErr(tx.Commit())
	rows := s.Rows()
	is.Equal(len(rows), 2)
	is.Equal(rows[0].Attempts, int64(1)) // a delivery is counted where it failed
	is.Equal(rows[0].Deliveries, int64(1))
	is.Equal(rows[1].Deliveries, int64(0))
	is.Equal(len(s.DeadLetters()), 1)
	is.Equal(s.DeadLetters()[0].Deliveries, int64(1))
}
