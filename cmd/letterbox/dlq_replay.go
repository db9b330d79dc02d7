package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/dlq"
)

// errNoSelection refuses to take the lack of a filter for all letters.
var errNoSelection = usagef("say which letters: give a filter, or --all")

// letterWork is what replay and purge have in common.
type letterWork struct {
	selection
	all, yes, asJSON bool
	limit            int64
	batch            int
}

func (w *letterWork) flags(c *cobra.Command) {
	w.selection.flags(c.Flags())
	c.Flags().BoolVar(&w.all, "all", false, "all letters")
	c.Flags().Int64Var(&w.limit, "limit", 0, "how many at most, the oldest of each queue first; 0: all")
	c.Flags().IntVar(&w.batch, "batch", 500, "how many at once, up to 10000: each batch is a commit")
	c.Flags().BoolVar(&w.yes, "yes", false, "do it")
	c.Flags().BoolVar(&w.asJSON, "json", false, "print JSON")
	completeReasons(c)
}

func (w *letterWork) check() error {
	const most = 10_000
	switch {
	case w.any() == !w.all:
		return errNoSelection
	case w.limit < 0:
		return usagef("--limit is %d, it must not be below zero", w.limit)
	case w.batch < 1 || w.batch > most:
		return usagef("--batch is %d, it may be 1 to %d", w.batch, most)
	}
	return nil
}

// agree shows what would be done, and asks whether it may be. It returns how many letters that is.
func (t *tool) agree(ctx context.Context, pool *pgxpool.Pool, w *letterWork, verb string) (total int64, yes bool, err error) {
	looking, cancel := t.bounded(ctx)
	defer cancel()
	counts, err := dlq.In(t.outbox).Count(looking, pool, w.filter())
	if err != nil {
		return 0, false, t.explain(looking, err)
	}
	for _, n := range counts {
		total += n.Letters
	}
	if total == 0 {
		return 0, false, t.nothing(looking, pool, "dead letter", w.Queue)
	}
	if w.limit > 0 {
		total = min(total, w.limit)
	}
	if !w.asJSON && !w.yes {
		if err := t.tabulate(counts); err != nil {
			return 0, false, err
		}
		t.note("this would %s %s", verb, plural(total, "dead letter"))
	}
	yes, err = t.mayGo(ctx, w.yes, fmt.Sprintf("%s %s?", verb, plural(total, "dead letter")))
	return total, yes, err
}

// finishing lets a statement that has begun come to its end though ctx ends, so that it is known what was done. Between
// statements, replays and purges look at ctx themselves.
type finishing struct{ pool *pgxpool.Pool }

func (f finishing) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return f.pool.Query(context.WithoutCancel(ctx), sql, args...)
}

func (f finishing) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return f.pool.QueryRow(context.WithoutCancel(ctx), sql, args...)
}

// saying tells a person who waits that the batch under way is waited for.
func (t *tool) saying(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { t.note("\nstopping after this batch; once more ends it at once") })
}

// broken is the error of work that ended early.
func broken(ctx context.Context, err error, did string) error {
	if ctx.Err() != nil {
		err = errInterrupted
	} else {
		err = committed(err)
	}
	if errors.Is(err, errUncertain) {
		return fmt.Errorf("%s, which is committed; of the batch that was under way: %w", did, err)
	}
	return fmt.Errorf("%w; %s, which is committed, and the others are as they were", err, did)
}

func newDeadReplay(t *tool) *cobra.Command {
	var (
		w    letterWork
		to   string
		rate float64
	)
	c := &cobra.Command{
		Use:   "replay",
		Short: "Give dead letters back to their queues",
		Long: `replay moves the dead letters that a filter selects back to their queues, as new messages, the oldest first. Each batch is one
statement and commits by itself, so ctrl-C, or a failure, leaves each letter either here or there; how many were moved is said.

It says what it would do. It does it with --yes, or after a question at a terminal. Letters of a timer that is live again stay,
and are listed. The exit code is 1 where no letter matches, and where one stayed.`,
		Example: `  letterbox dlq replay --id 17,18
  letterbox dlq replay --queue orders.placed --reason retry_terminal --yes
  letterbox dlq replay --queue orders.placed --to orders.repair --rate 50 --yes
  letterbox dlq replay --all --yes --json`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			opts := []dlq.ReplayAllOption{dlq.Batch(w.batch)}
			if c.Flags().Changed("rate") {
				if !(rate > 0) {
					return usagef("--rate is %v, it must be above zero", rate)
				}
				opts = append(opts, dlq.Rate(rate))
			}
			if to != "" {
				if _, err := t.queue(to); err != nil {
					return err
				}
				opts = append(opts, dlq.To(to))
			}
			return t.replay(c.Context(), &w, opts)
		},
	}
	w.flags(c)
	c.Flags().StringVar(&to, "to", "", "queue to move them to (default: the one each comes from)")
	c.Flags().Float64Var(&rate, "rate", 0, "how many a second at most (default: no limit)")
	return c
}

func (t *tool) replay(ctx context.Context, w *letterWork, opts []dlq.ReplayAllOption) error {
	if err := w.check(); err != nil {
		return err
	}
	pool, err := t.connect(ctx)
	if err != nil {
		return err
	}
	total, yes, err := t.agree(ctx, pool, w, "replay")
	if err != nil {
		return err
	}
	var done dlq.Replayed
	if yes {
		if done, err = t.move(ctx, pool, w, total, opts); err != nil {
			err = broken(ctx, err, fmt.Sprintf("%d of %s moved", done.Moved, plural(total, "dead letter")))
		}
	}
	if w.asJSON {
		err = errors.Join(err, t.json().print(struct {
			DryRun  bool  `json:"dry_run"`
			Matched int64 `json:"matched"`
			Moved   int64 `json:"moved"`
			Skipped int64 `json:"skipped"`
		}{!yes, total, done.Moved, done.Skipped}))
	} else if yes && err == nil {
		t.line("moved %s", plural(done.Moved, "dead letter"))
		t.left(total - done.Moved - done.Skipped)
	}
	if err == nil && done.Skipped > 0 {
		t.note("%s stayed", plural(done.Skipped, "dead letter"))
		err = errSaid
	}
	return err
}

// move replays with a bar, and lists what stays.
func (t *tool) move(ctx context.Context, pool *pgxpool.Pool, w *letterWork, total int64, opts []dlq.ReplayAllOption) (dlq.Replayed, error) {
	if w.limit > 0 {
		opts = append(opts, dlq.Limit(w.limit))
	}
	bar := t.progress(total, "replaying")
	defer bar.end()
	defer t.saying(ctx)()
	return dlq.In(t.outbox).ReplayAll(ctx, finishing{pool}, w.filter(), append(opts, dlq.OnProgress(func(p dlq.Progress) {
		for _, s := range p.Skips {
			t.note("stays: %v", s.Err)
		}
		bar.to(p.Moved + p.Skipped)
	}))...)
}

// left says that others were at work at the same time.
func (t *tool) left(n int64) {
	if n > 0 {
		t.note("%d more were in the hands of others, or gone", n)
	}
}
