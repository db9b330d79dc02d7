package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

// completionWait is how long a person who pressed the tab key waits for the database.
const completionWait = 2 * time.Second

// queues completes the name of a queue, as one argument, with those that hold something. Where the database cannot be
// asked, there is nothing to offer.
func (t *tool) queues(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const nothingElse = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, nothingElse
	}
	return t.queueNames(c.Context()), nothingElse
}

// queuesOfFlag is queues for a flag, whatever the arguments are.
func (t *tool) queuesOfFlag(c *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	return t.queues(c, nil, toComplete)
}

func (t *tool) queueNames(ctx context.Context) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, completionWait)
	defer cancel()
	pool, err := t.connect(ctx)
	if err != nil {
		return nil
	}
	stats, err := t.outbox.Stats(ctx, pool, queue.StatsOptions{Cap: 1, MaxQueues: 1000})
	if err != nil {
		return nil
	}
	for _, q := range stats.Queues {
		names = append(names, q.Queue)
	}
	return names
}

// completing gives each command that takes a queue, as its first argument or by a flag, the names of those that there are.
func completing(c *cobra.Command, t *tool) {
	for _, flag := range []string{"queue", "to"} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, t.queuesOfFlag)
		}
	}
	for _, sub := range c.Commands() {
		completing(sub, t)
	}
}
