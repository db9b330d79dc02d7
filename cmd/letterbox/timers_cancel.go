package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// cancelling is which timers of a queue are to be cancelled: some ids, those with a prefix, or all.
type cancelling struct {
	queue       queue.Queue
	ids         []string
	prefix      string
	all         bool
	yes, asJSON bool
}

func newTimersCancel(t *tool) *cobra.Command {
	var set cancelling
	c := &cobra.Command{
		Use:   "cancel QUEUE [TIMER...]",
		Short: "Cancel timers of a queue",
		Long: `cancel removes timers of a queue that wait, for their time or for a retry: those that are named, those whose id begins with
--prefix, or --all. One whose handler runs is left, and its run goes on.

It says what it would do. It does it with --yes, or after a question at a terminal, in one transaction.
The exit code is 1 where no timer matches, and where one of them is running and was left.`,
		Example: `  letterbox timers cancel reminders order-7 order-8
  letterbox timers cancel reminders --prefix order- --yes
  letterbox timers cancel reports.ticks.nightly --all`,
		ValidArgsFunction: t.queues,
		Args: func(_ *cobra.Command, given []string) error {
			if len(given) == 0 {
				return errors.New("QUEUE is missing")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if set.queue, err = t.queue(args[0]); err != nil {
				return err
			}
			set.ids = slices.Compact(slices.Sorted(slices.Values(args[1:])))
			ways := 0
			for _, way := range []bool{len(set.ids) > 0, set.prefix != "", set.all} {
				if way {
					ways++
				}
			}
			if ways != 1 {
				return usagef("say which timers: name them, or give --prefix, or --all")
			}
			return t.cancelTimers(c.Context(), set)
		},
	}
	c.Flags().StringVar(&set.prefix, "prefix", "", "those whose id begins with this")
	c.Flags().BoolVar(&set.all, "all", false, "all timers of the queue")
	c.Flags().BoolVar(&set.yes, "yes", false, "do it")
	c.Flags().BoolVar(&set.asJSON, "json", false, "print JSON")
	return c
}

func (t *tool) cancelTimers(ctx context.Context, set cancelling) error {
	var waiting, running int64
	err := t.look(ctx, func(ctx context.Context, pool *pgxpool.Pool) (err error) {
		waiting, running, err = t.findTimers(ctx, pool, set)
		return err
	})
	if err != nil {
		return err
	}
	if !set.asJSON && !set.yes {
		text := fmt.Sprintf("%s would be cancelled", plural(waiting, "timer"))
		if running > 0 {
			text += fmt.Sprintf("; %d running would be left", running)
		}
		t.note("%s", text)
	}
	agreed, err := t.mayGo(ctx, set.yes, fmt.Sprintf("Cancel %s of queue %q?", plural(waiting, "timer"), set.queue.Name()))
	if err != nil {
		return err
	}
	var done timers.CancelCount
	if agreed {
		switch done, err = t.cancel(ctx, set); {
		case errors.Is(err, errUncertain):
			return err
		case err != nil:
			return fmt.Errorf("nothing was cancelled: %w", err)
		}
	}
	if set.asJSON {
		err = t.json().print(struct {
			Queue     string `json:"queue"`
			DryRun    bool   `json:"dry_run"`
			Waiting   int64  `json:"waiting"`
			Running   int64  `json:"running"`
			Cancelled int64  `json:"cancelled"`
		}{set.queue.Name(), !agreed, waiting, max(running, done.Running), done.Cancelled})
	} else if agreed {
		t.line("cancelled %s", plural(done.Cancelled, "timer"))
	}
	if err == nil && done.Running > 0 {
		t.note("%d running, or in the hands of another transaction, left", done.Running)
		err = errSaid
	}
	return err
}

// findTimers counts what there is to cancel.
func (t *tool) findTimers(ctx context.Context, pool *pgxpool.Pool, set cancelling) (waiting, running int64, err error) {
	of := timers.Of(set.queue)
	if len(set.ids) == 0 {
		counts, err := of.Count(ctx, pool, timers.Filter{Prefix: set.prefix, Running: true})
		if err != nil {
			return 0, 0, err
		}
		waiting, running = counts.Waiting, counts.Running
	}
	for _, id := range set.ids {
		l, ok, err := of.Get(ctx, pool, id)
		switch {
		case errors.Is(err, timers.ErrInvalidID):
			return 0, 0, usageError{err}
		case err != nil:
			return 0, 0, err
		case !ok:
			t.note("there is no timer %q", id)
		case l.Leased:
			running++
		default:
			waiting++
		}
		if ok && !set.asJSON {
			t.line("%s  %s  %s", shown(id, 0), timerState(l, time.Now()), clock(l.DueAt))
		}
	}
	switch {
	case waiting+running == 0:
		return 0, 0, t.nothing(ctx, pool, "timer", set.queue.Name())
	case waiting == 0:
		return 0, 0, fmt.Errorf("%s running: there is nothing to cancel", plural(running, "timer"))
	}
	return waiting, running, nil
}

// cancel cancels in one transaction.
func (t *tool) cancel(ctx context.Context, set cancelling) (done timers.CancelCount, err error) {
	of := timers.Of(set.queue)
	err = t.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		switch {
		case set.all:
			done, err = of.CancelAll(ctx, tx)
		case set.prefix != "":
			done, err = of.CancelPrefix(ctx, tx, set.prefix)
		}
		for _, id := range set.ids {
			res, err := of.Cancel(ctx, tx, id)
			if err != nil {
				return err
			}
			switch res.Outcome {
			case timers.Cancelled:
				done.Cancelled++
			case timers.Running:
				done.Running++
			}
		}
		return err
	})
	return done, err
}
