package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/dlq"
)

func newDeadPurge(t *tool) *cobra.Command {
	var w letterWork
	c := &cobra.Command{
		Use:   "purge",
		Short: "Delete dead letters",
		Long: `purge deletes the dead letters that a filter selects, for good, the oldest first, in batches that commit by themselves. Letters that
fail while it runs are left.

It says what it would do. It does it with --yes, or after a question at a terminal. The exit code is 1 where no letter matches.`,
		Example: `  letterbox dlq purge --older-than 30d
  letterbox dlq purge --queue orders.placed --reason decode_error --yes
  letterbox dlq purge --all --yes`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error { return t.purge(c.Context(), &w) },
	}
	w.flags(c)
	return c
}

func (t *tool) purge(ctx context.Context, w *letterWork) error {
	if err := w.check(); err != nil {
		return err
	}
	pool, err := t.connect(ctx)
	if err != nil {
		return err
	}
	total, yes, err := t.agree(ctx, pool, w, "purge")
	if err != nil {
		return err
	}
	var done int64
	if yes {
		if done, err = t.remove(ctx, pool, w, total); err != nil {
			err = broken(ctx, err, fmt.Sprintf("%d of %s purged", done, plural(total, "dead letter")))
		}
	}
	if w.asJSON {
		return errors.Join(err, t.json().print(struct {
			DryRun  bool  `json:"dry_run"`
			Matched int64 `json:"matched"`
			Purged  int64 `json:"purged"`
		}{!yes, total, done}))
	}
	if yes && err == nil {
		t.line("purged %s", plural(done, "dead letter"))
		t.left(total - done)
	}
	return err
}

// remove purges batch by batch, with a bar. All batches have one bound in time, for what fails meanwhile was not counted.
func (t *tool) remove(ctx context.Context, pool *pgxpool.Pool, w *letterWork, total int64) (done int64, err error) {
	f := w.filter()
	if f.FailedBefore.IsZero() {
		if err := pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&f.FailedBefore); err != nil {
			return 0, err
		}
	}
	bar := t.progress(total, "purging")
	defer bar.end()
	defer t.saying(ctx)()
	for done < total {
		size := min(int64(w.batch), total-done)
		n, err := dlq.In(t.outbox).Purge(ctx, finishing{pool}, f, dlq.Batch(int(size)), dlq.Limit(size))
		done += n
		bar.to(done)
		if err != nil || n == 0 {
			return done, err
		}
	}
	return done, nil
}
