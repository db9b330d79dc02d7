package dlq

import (
	"context"
	"errors"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Purge deletes the letters that the filter selects, and returns how many those
// were: oldest first, queue by queue, in batches (see [Batch] and [Limit]). The
// zero Filter is [ErrEmptyFilter]: say [Everything], or set a condition.
//
// Each batch is one statement; on a pool or a connection it commits by itself,
// on a transaction everything is part of that. Letters that somebody has in hand
// are passed over, and those that come while it runs are left. After an error,
// or the end of ctx, the number says what was deleted.
func (l Letters) Purge(ctx context.Context, db DB, f Filter, opts ...PurgeOption) (int64, error) {
	const verb = "purge"
	set := settings{batch: defaultBatch}
	for _, o := range opts {
		if o != nil {
			o.applyPurge(&set)
		}
	}
	if err := errors.Join(l.check(db), set.err); err != nil {
		return 0, l.failed(verb, err)
	}
	if f.empty() {
		return 0, l.failed(verb, ErrEmptyFilter)
	}
	where, err := f.bind(l)
	if err != nil {
		return 0, l.failed(verb, err)
	}
	n, err := l.purge(ctx, db, where, set, noRest)
	if err != nil {
		return n, l.failed(verb, err)
	}
	return n, nil
}

func (l Letters) purge(ctx context.Context, db DB, where store.LetterFilter, set settings, rest func(context.Context, int64) error) (int64, error) {
	w := walk{letters: l, where: where, batch: set.batch, limit: set.limit, rest: rest}
	w.step = func(b batch) (int64, store.Place, bool, error) {
		return access.On(db, l.table).PurgeLetters(ctx, b.where, b.beyond, b.limit)
	}
	return w.run(ctx, db)
}
