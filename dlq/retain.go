package dlq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
	"github.com/letterbox-go/letterbox/queue"
)

// Retain has a worker remove letters that are older than keep, by the database's
// clock, and log how many those were. It does so once soon after the start, and
// then about every hour (see [Every], [Batch] and [Matching]). A time to keep of
// zero or less is refused by [queue.NewWorker], and so is what is wrong with the
// options.
//
// It goes easy on the database: in batches, with rests between them as long as
// the batch took. The workers of a fleet do it at times of their own, spread at
// random, and when two meet they pass over each other's letters. A round that
// fails is logged, and what it left is for the next.
//
//	w, err := queue.NewWorker(pool, subscriptions, dlq.In(outbox).Retain(30*24*time.Hour))
func (l Letters) Retain(keep time.Duration, opts ...RetainOption) queue.WorkerOption {
	set := settings{batch: defaultBatch, every: time.Hour}
	for _, o := range opts {
		if o != nil {
			o.applyRetain(&set)
		}
	}
	if keep <= 0 {
		set.refuse("keep for %v, it must be above zero", keep)
	}
	set.matching.OlderThan = max(0, keep)
	where, err := set.matching.bind(l)
	if err := errors.Join(l.made(), set.err, err); err != nil {
		return queue.BadOption(fmt.Errorf("retain dead letters of %s: %w", l, err))
	}
	r := retention{letters: l, where: where, set: set}
	return queue.Beside("dead-letter retention", false, r.run)
}

type retention struct {
	letters Letters
	where   store.LetterFilter
	set     settings
}

// startSpread is the most that the first round waits: workers that are deployed
// together begin apart, and one that never lives for an hour has its turn too.
const startSpread = 5 * time.Minute

func (r retention) run(ctx context.Context, db access.Pool, log *slog.Logger) error {
	pause := rand.N(min(startSpread, r.set.every))
	for wait(ctx, pause) == nil {
		r.round(ctx, db, log.With(slog.String("letters", r.letters.String()), slog.Duration("keep", r.where.OlderThan)))
		pause = r.set.every/2 + rand.N(r.set.every)
	}
	return nil
}

// round removes what is too old by now.
func (r retention) round(ctx context.Context, db access.Pool, log *slog.Logger) {
	last := time.Now()
	n, err := r.letters.purge(ctx, db, r.where, r.set, func(ctx context.Context, _ int64) error {
		err := wait(ctx, time.Since(last))
		last = time.Now()
		return err
	})
	if n > 0 {
		log.Info("dead letters removed, for they are too old", slog.Int64("removed", n))
	}
	if err != nil && ctx.Err() == nil {
		log.Error("cannot remove old dead letters; the next round tries again", slog.Any("error", explain(r.letters.table, err)))
	}
}
