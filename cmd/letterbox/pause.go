package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

func newPause(t *tool) *cobra.Command {
	var fresh bool
	c := t.newMark(&cobra.Command{
		Use:   "pause QUEUE",
		Short: "Stop the delivery of a queue",
		Long: `pause stops the delivery of a queue, by every worker, until 'letterbox resume'. Publishing and timers go on, and their messages
wait. What a worker has claimed before is still handled. It is kept in the table, and so over restarts.

A queue that holds nothing, and that no worker is seen to wait for, is paused with --new only, since the name may be a typing error:
without it, nothing is done and the exit code is 1. A script that pauses a queue which may be empty gives --new. A queue that is
paused already stays so, and the exit code is 0.`,
		Example: `  letterbox pause orders.placed
  letterbox pause orders.placed --new --json`,
	}, queue.Queue.Pause, "paused", "was paused already", &fresh)
	c.Flags().BoolVar(&fresh, "new", false, "also where nothing is known of the queue")
	return c
}

func newResume(t *tool) *cobra.Command {
	return t.newMark(&cobra.Command{
		Use:   "resume QUEUE",
		Short: "Go on with the delivery of a queue",
		Long: `resume undoes 'letterbox pause', and wakes the workers. A queue that is not paused stays as it is, and the exit code is 0; where
nothing else is known of it either, the exit code is 1, since the name may be a typing error.`,
		Example: `  letterbox resume orders.placed
  letterbox resume orders.placed --json`,
	}, queue.Queue.Resume, "resumed", "was not paused", nil)
}

// newMark is pause or resume. Where fresh is set, it takes a queue of which nothing is known; nil is never.
func (t *tool) newMark(c *cobra.Command, mark func(queue.Queue, context.Context, queue.Tx) (bool, error), done, already string, fresh *bool) *cobra.Command {
	var asJSON bool
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Args, c.ValidArgsFunction = args("QUEUE"), t.queues
	c.RunE = func(c *cobra.Command, args []string) error {
		q, err := t.queue(args[0])
		if err != nil {
			return err
		}
		var changed bool
		err = t.change(c.Context(), func(ctx context.Context, tx pgx.Tx) error {
			if fresh == nil || !*fresh {
				err := t.known(ctx, tx, q.Name())
				if _, is := errors.AsType[unknownQueue](err); is && fresh != nil {
					err = fmt.Errorf("%w; --new pauses it all the same", err)
				}
				if err != nil {
					return err
				}
			}
			changed, err = mark(q, ctx, tx)
			return err
		})
		switch {
		case err != nil:
			return err
		case asJSON:
			return t.json().print(struct {
				Queue   string `json:"queue"`
				Changed bool   `json:"changed"`
			}{q.Name(), changed})
		case changed:
			t.line("%s queue %q", done, q.Name())
		default:
			t.line("queue %q %s", q.Name(), already)
		}
		return nil
	}
	return c
}
