package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const rootHelp = `letterbox looks after the outbox of github.com/letterbox-go/letterbox: a queue that is a table in PostgreSQL.

The database is --dsn or $DATABASE_URL, a URL or key=value pairs; what neither says comes from the variables of libpq, such
as PGHOST and PGPASSWORD. A password is better in one of these than in --dsn, which other users of the machine can see.
It is never printed.

Exit codes:
  0    done
  1    it failed, or there was nothing to do it to, or the answer was no
  2    it was called in a wrong way
  3    it looked, and what it saw is not in order (validate, doctor)
  130  interrupted: what was done before is said

Output is for people; with --json it is JSON, one object a line, and stays compatible. Colours are used on a terminal only, and
not with --no-color or where NO_COLOR is set.`

// newRoot is the command line. Nothing is read or opened before a command runs.
func newRoot(t *tool) *cobra.Command {
	root := group("letterbox", "Look after a Letterbox outbox", rootHelp,
		newMigrate(t), newValidate(t), newDoctor(t), newStatus(t), newPeek(t),
		newPublish(t), newTimers(t), newDeadLetters(t), newPause(t), newResume(t), newBench(t),
	)
	root.Example = `  export DATABASE_URL=postgres://app@localhost/shop
  letterbox migrate up
  letterbox dlq list --queue orders.placed`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Version = "(of no version)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		root.Version = info.Main.Version
	}
	f := root.PersistentFlags()
	f.StringVar(&t.dsn, "dsn", "", "the database (default $DATABASE_URL)")
	f.StringVar(&t.outbox.Schema, "schema", "", "schema of the tables (default: as the search_path finds them)")
	f.StringVar(&t.outbox.Table, "table", "", `the outbox table (default "outbox")`)
	f.StringVar(&t.outbox.DeadLetters, "dead-letters", "", `the dead-letter table (default: the outbox table and "_dlq")`)
	f.Var((*notify)(&t.outbox.Notify), "notify", "when what is published, replayed or resumed tells the workers: sleeping (if one sleeps), always or never")
	_ = root.RegisterFlagCompletionFunc("notify", cobra.FixedCompletions(notifyNames, cobra.ShellCompDirectiveNoFileComp))
	f.DurationVar(&t.timeout, "timeout", 30*time.Second, "how long to wait for the database: for a connection, and for an answer; not for work in batches. 0: no limit")
	f.BoolVar(&t.noColor, "no-color", false, "no colours (also where NO_COLOR is set)")
	completing(root, t)
	watch(root, t)
	return root
}

// watch notes when a command's own work begins: whatever fails before is a mistake in how it was called.
func watch(c *cobra.Command, t *tool) {
	if work := c.RunE; work != nil && !c.HasSubCommands() {
		c.RunE = func(c *cobra.Command, args []string) error {
			t.began = true
			return work(c, args)
		}
	}
	for _, sub := range c.Commands() {
		watch(sub, t)
	}
}

// group is a command that has others and does nothing itself.
func group(name, short, long string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Long:  long,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := fmt.Errorf("there is no command %q", c.CommandPath()+" "+args[0])
			if like := c.SuggestionsFor(args[0]); len(like) > 0 {
				err = fmt.Errorf("%w; did you mean %q?", err, strings.Join(like, `", "`))
			}
			return err
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(c.ErrOrStderr())
			if err := c.Usage(); err != nil {
				return err
			}
			return errors.New("a command is missing")
		},
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(subs...)
	return c
}

// args takes as many arguments as there are names.
func args(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many", args[len(names)])
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", strings.Join(names[len(args):], " and "))
		}
		return nil
	}
}
