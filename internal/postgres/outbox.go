package postgres

import (
	"context"
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

// In is the table as a transaction of any driver works on it.
func (t *Table) In(tx Rower) store.Outbox { return inTx{t, tx} }

// On is the table's dead letters as a pool, a connection or a transaction of pgx
// works on them.
func (t *Table) On(db Querier) store.Letters { return onDB{inTx{t, db}, db} }

type inTx struct {
	t  *Table
	tx Rower
}

var _ store.Outbox = inTx{}

func (x inTx) Publish(ctx context.Context, drafts []store.Draft) ([]int64, error) {
	return x.t.Publish(ctx, x.tx, drafts)
}

func (x inTx) ListMessages(ctx context.Context, queue string) ([]store.StoredTimer, time.Time, error) {
	return x.t.ListMessages(ctx, x.tx, queue)
}

func (x inTx) ListDeadLetters(ctx context.Context, queue string) ([]store.Letter, error) {
	return x.t.ListDeadLetters(ctx, x.tx, queue)
}

func (x inTx) ScheduleTimer(ctx context.Context, d *store.Draft) (store.Written, error) {
	return x.t.ScheduleTimer(ctx, x.tx, d)
}

func (x inTx) ScheduleTimers(ctx context.Context, drafts []store.Draft) ([]store.Written, error) {
	return x.t.ScheduleTimers(ctx, x.tx, drafts)
}

func (x inTx) RescheduleTimer(ctx context.Context, d *store.Draft, r store.TimerRules) (store.Written, error) {
	return x.t.RescheduleTimer(ctx, x.tx, d, r)
}

func (x inTx) CancelTimer(ctx context.Context, queue, id string) (store.Written, error) {
	return x.t.CancelTimer(ctx, x.tx, queue, id)
}

func (x inTx) CancelTimers(ctx context.Context, queue, prefix string) (cancelled, left int64, err error) {
	return x.t.CancelTimers(ctx, x.tx, queue, prefix)
}

func (x inTx) ListTimers(ctx context.Context, f store.TimerFilter, beyond store.TimerPlace, limit int) ([]store.StoredTimer, error) {
	return x.t.ListTimers(ctx, x.tx, f, beyond, limit)
}

func (x inTx) GetTimer(ctx context.Context, queue, id string) (*store.StoredTimer, error) {
	return x.t.GetTimer(ctx, x.tx, queue, id)
}

func (x inTx) CountTimers(ctx context.Context, f store.TimerFilter) (store.TimerCount, error) {
	return x.t.CountTimers(ctx, x.tx, f)
}

func (x inTx) NextTimer(ctx context.Context, queue string) (time.Time, error) {
	return x.t.NextTimer(ctx, x.tx, queue)
}

func (x inTx) Letter(ctx context.Context, id int64, queue string) (store.Letter, error) {
	return x.t.Letter(ctx, x.tx, id, queue)
}

func (x inTx) ReplayLettersByID(ctx context.Context, ids []int64, fixes []store.Fix, from, to string) (store.Replayed, error) {
	return x.t.ReplayLettersByID(ctx, x.tx, ids, fixes, from, to)
}

type onDB struct {
	inTx
	db Querier
}

var _ store.Letters = onDB{}

func (x onDB) LetterScope(ctx context.Context, f store.LetterFilter) (queues []string, last int64, err error) {
	return x.t.LetterScope(ctx, x.db, f)
}

func (x onDB) CountLetters(ctx context.Context, queues []string, f store.LetterFilter) ([]store.LetterCount, error) {
	return x.t.CountLetters(ctx, x.db, queues, f)
}

func (x onDB) ListLetters(ctx context.Context, queues []string, f store.LetterFilter, beyond store.Place, oldestFirst bool, limit int) ([]store.Letter, error) {
	return x.t.ListLetters(ctx, x.db, queues, f, beyond, oldestFirst, limit)
}

func (x onDB) PurgeLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int) (int64, store.Place, bool, error) {
	return x.t.PurgeLetters(ctx, x.db, f, beyond, limit)
}

func (x onDB) ReplayLetters(ctx context.Context, f store.LetterFilter, beyond store.Place, limit int, to string) (store.Replayed, store.Place, bool, error) {
	return x.t.ReplayLetters(ctx, x.db, f, beyond, limit, to)
}

func (x inTx) Pause(ctx context.Context, queue string) (bool, error) {
	return x.t.Pause(ctx, x.tx, queue)
}

func (x inTx) Resume(ctx context.Context, queue string) (bool, error) {
	return x.t.Resume(ctx, x.tx, queue)
}

func (x inTx) Paused(ctx context.Context) ([]store.Pause, error) { return x.t.Paused(ctx, x.tx) }
