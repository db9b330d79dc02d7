package memory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]memory.Option{
		"clock=flowing": nil,
		"clock=frozen":  {memory.Frozen(), memory.StartAt(time.Date(2001, 2, 3, 4, 5, 6, 789_012_345, time.Local))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(*testing.T) storetest.Harness { return harness{memory.New(opts...)} })
		})
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	storetest.RunModel(t, func(*testing.T) storetest.Harness { return harness{memory.New(memory.Frozen())} })
}

// harness joins the suite.
type harness struct{ outbox *memory.Store }

func (h harness) Store() store.Store { return h.outbox }

func (h harness) Publish(ctx context.Context, drafts ...store.Draft) ([]int64, error) {
	return h.outbox.Publish(ctx, drafts...)
}

func (h harness) Insert(ctx context.Context, queue string, payload, headers []byte) (int64, error) {
	ids, err := h.outbox.Publish(ctx, store.Draft{Queue: queue, Payload: payload, Headers: headers})
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

func (h harness) Advance(_ context.Context, d time.Duration) error {
	h.outbox.Advance(d)
	return nil
}

func (h harness) Rows(context.Context) ([]storetest.Row, error) {
	var rows []storetest.Row
	for _, c := range h.outbox.Rows() {
		rows = append(rows, storetest.Row{Claimed: c, Now: h.outbox.Now()})
	}
	return rows, nil
}

func (h harness) DeadLetters(context.Context) ([]storetest.DeadLetter, error) {
	var letters []storetest.DeadLetter
	for _, d := range h.outbox.DeadLetters() {
		letters = append(letters, storetest.DeadLetter{
			OriginalID: d.OriginalID,
			Queue:      d.Queue,
			Payload:    d.Payload,
			Headers:    d.Headers,
			TimerID:    d.TimerID,
			Deliveries: d.Deliveries,
			CreatedAt:  d.CreatedAt,
			FailedAt:   d.FailedAt,
			Reason:     d.Reason,
			Error:      d.Error,
			Now:        h.outbox.Now(),
		})
	}
	return letters, nil
}

func (h harness) BreakDeadLetters(context.Context) error {
	h.outbox.BreakDeadLetters(errors.New("permission denied"))
	return nil
}

func (h harness) MendDeadLetters(context.Context) error {
	h.outbox.BreakDeadLetters(nil)
	return nil
}

func (h harness) Lock(ctx context.Context, ids ...int64) (func() error, error) {
	tx := h.outbox.Begin(errEnded)
	return tx.Rollback, tx.In(h.outbox).Lock(ctx, ids...)
}

func (h harness) Hold(ctx context.Context, c store.Claim) (storetest.Hold, store.Batch, error) {
	tx := h.outbox.Begin(errEnded)
	batch, err := tx.In(h.outbox).Hold(ctx, c)
	return hold{h.outbox, tx}, batch, err
}

type hold struct {
	outbox *memory.Store
	tx     *memory.Tx
}

func (h hold) Pass(context.Context) (time.Time, error) {
	h.outbox.Advance(time.Second)
	return h.outbox.Now(), nil
}

func (h hold) Settle(ctx context.Context, outcomes ...store.Outcome) error {
	_, err := h.tx.In(h.outbox).Settle(ctx, outcomes)
	return err
}

func (h hold) Bury(ctx context.Context, outcomes ...store.Outcome) error {
	return h.tx.In(h.outbox).Bury(ctx, outcomes)
}

func (h hold) Commit(context.Context) error { return h.tx.Commit() }

func (h harness) Schedule(ctx context.Context, d store.Draft) (id int64, added bool, err error) {
	tx := h.outbox.Begin(errEnded)
	w, err := tx.In(h.outbox).ScheduleTimer(ctx, &d)
	if id, added = w.ID, w.ID != 0; w.Found != nil {
		id = w.Found.ID
	}
	return id, added, errors.Join(err, tx.Commit())
}

func (h harness) Cancel(ctx context.Context, queue, timerID string) (id int64, done bool, err error) {
	tx := h.outbox.Begin(errEnded)
	w, err := tx.In(h.outbox).CancelTimer(ctx, queue, timerID)
	if done = w.ID != 0; w.Found != nil {
		id = w.Found.ID
	}
	return id, done, errors.Join(err, tx.Commit())
}

func (h harness) Pause(ctx context.Context, queue string) (bool, error) {
	tx := h.outbox.Begin(errEnded)
	changed, err := tx.In(h.outbox).Pause(ctx, queue)
	return changed, errors.Join(err, tx.Commit())
}

func (h harness) Resume(ctx context.Context, queue string) (bool, error) {
	tx := h.outbox.Begin(errEnded)
	changed, err := tx.In(h.outbox).Resume(ctx, queue)
	return changed, errors.Join(err, tx.Commit())
}

var errEnded = errors.New("the transaction has ended")
