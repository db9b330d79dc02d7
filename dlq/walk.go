package dlq

import (
	"context"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
)

// walk goes through the letters that a filter selects, oldest first, queue by
// queue, for that is the order of the index. step works on the next batch and
// says how many letters that were; rest is called before each.
type walk struct {
	letters Letters
	where   store.LetterFilter
	batch   int
	limit   int64 // zero: none
	rest    func(ctx context.Context, done int64) error
	step    func(b batch) (n int64, last store.Place, more bool, err error)
}

// batch is up to limit letters of one queue beyond a place.
type batch struct {
	where  store.LetterFilter
	beyond store.Place
	limit  int
}

// run returns how many letters were worked on before it ended or failed. It
// looks only at letters that are there when it begins: workers may be adding
// others as fast as they go.
func (w *walk) run(ctx context.Context, db DB) (done int64, err error) {
	queues, last, err := access.On(db, w.letters.table).LetterScope(ctx, w.where)
	if err != nil || last == 0 {
		return 0, err
	}
	for _, q := range queues {
		b := batch{where: w.where}
		b.where.Queue, b.where.Last = q, last
		for more := true; more; {
			b.limit = w.batch
			if w.limit > 0 {
				b.limit = int(min(int64(b.limit), w.limit-done))
			}
			if b.limit == 0 {
				return done, nil
			}
			if err := w.rest(ctx, done); err != nil {
				return done, err
			}
			var n int64
			if n, b.beyond, more, err = w.step(b); err != nil {
				return done, err
			}
			done += n
		}
	}
	return done, nil
}

// noRest only minds the context.
func noRest(ctx context.Context, _ int64) error { return context.Cause(ctx) }

// paced rests so that no more than so many letters go in a second.
func paced(perSecond float64) func(context.Context, int64) error {
	began := time.Now()
	return func(ctx context.Context, done int64) error {
		const ages = 1e9 // seconds; what is longer would not fit in a Duration
		due := time.Duration(min(ages, float64(done)/perSecond) * float64(time.Second))
		return wait(ctx, due-time.Since(began))
	}
}

// wait returns early, with the cause, when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
