package main

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/queue"
)

func newDeadLetters(t *tool) *cobra.Command {
	c := group("dlq", "List, show, replay and purge dead letters",
		"dlq works on dead letters: messages that failed for good.",
		newDeadList(t), newDeadShow(t), newDeadReplay(t), newDeadPurge(t))
	c.Example = `  letterbox dlq list --count
  letterbox dlq show 17
  letterbox dlq replay --queue orders.placed --yes
  letterbox dlq purge --older-than 30d`
	return c
}

// selection is the flags that select letters.
type selection struct {
	dlq.Filter
	after, before instant
	older         age
	ids           []int64
}

func (s *selection) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Queue, "queue", "", "those of this queue")
	f.StringVar(&s.Reason, "reason", "", "those with this reason: "+strings.Join(reasons, ", "))
	f.Var(&s.after, "failed-after", "those that failed then or later")
	f.Var(&s.before, "failed-before", "those that failed before")
	f.Var(&s.older, "older-than", "those that failed so long ago, or longer, such as 12h or 30d")
	f.StringVar(&s.ErrorContains, "error-contains", "", "those whose error has this in it, as it is written")
	f.Int64SliceVar(&s.ids, "id", nil, "those with these ids of letters; can be repeated")
}

var reasons = []string{queue.ReasonRetryTerminal, queue.ReasonRejected, queue.ReasonDecodeError, queue.ReasonMaxDeliveries}

func completeReasons(c *cobra.Command) {
	_ = c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasons, cobra.ShellCompDirectiveNoFileComp))
}

// filter is what the flags say.
func (s *selection) filter() dlq.Filter {
	f := s.Filter
	f.FailedAfter, f.FailedBefore, f.OlderThan, f.IDs = s.after.Time, s.before.Time, s.older.Duration, s.ids
	return f
}

// any says that no flag selects anything.
func (s *selection) any() bool {
	return s.Queue == "" && s.Reason == "" && s.after.IsZero() && s.before.IsZero() && s.older.Duration == 0 && s.ErrorContains == "" && s.ids == nil
}

func newDeadList(t *tool) *cobra.Command {
	var (
		s                      selection
		limit                  int
		counts, oldest, asJSON bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Long: `list lists dead letters, the newest first, or with --count how many of each queue and reason there are. Payloads are not shown:
see 'letterbox dlq show'. The exit code is 1 where a filter matches nothing.`,
		Example: `  letterbox dlq list
  letterbox dlq list --count --json
  letterbox dlq list --queue orders.placed --reason retry_terminal --error-contains timeout
  letterbox dlq list --failed-after 2026-01-31T12:00:00Z --oldest-first --limit 0`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit is %d, it must not be below zero", limit)
			}
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error {
				if counts {
					return t.countLetters(ctx, pool, &s, asJSON)
				}
				return t.listLetters(ctx, pool, &s, limit, oldest, asJSON)
			})
		},
	}
	s.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", 100, "how many at most; 0: all")
	c.Flags().BoolVar(&oldest, "oldest-first", false, "the oldest first")
	c.Flags().BoolVar(&counts, "count", false, "count them by queue and reason")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, a line for each")
	completeReasons(c)
	return c
}

func (t *tool) listLetters(ctx context.Context, pool *pgxpool.Pool, s *selection, limit int, oldest, asJSON bool) error {
	var rows [][]string
	found, err := walk(t, limit, func(after string) ([]dlq.Letter, error) {
		return dlq.In(t.outbox).List(ctx, pool, s.filter(), dlq.Page{Size: pageSize, OldestFirst: oldest, After: after})
	}, func(l dlq.Letter) error {
		if asJSON {
			return t.json().print(newLetter(l))
		}
		rows = append(rows, []string{count(l.ID), clock(l.FailedAt), shown(l.Queue, 60), shown(l.Reason, 40), count(l.Deliveries), shown(l.Error, 80)})
		return nil
	})
	if err != nil {
		return err
	}
	if found == 0 || asJSON {
		return t.noLetters(ctx, pool, s, found)
	}
	return table(t.out, []string{">LETTER", "FAILED", "QUEUE", "REASON", ">DELIVERIES", "ERROR"}, rows)
}

// noLetters says that there are none, where that is so.
func (t *tool) noLetters(ctx context.Context, pool *pgxpool.Pool, s *selection, found int) error {
	switch {
	case found > 0:
		return nil
	case s.any():
		t.note("there are no dead letters")
		return nil
	}
	return t.nothing(ctx, pool, "dead letter", s.Queue)
}

func (t *tool) countLetters(ctx context.Context, pool *pgxpool.Pool, s *selection, asJSON bool) error {
	counts, err := dlq.In(t.outbox).Count(ctx, pool, s.filter())
	if err != nil {
		return err
	}
	if !asJSON && len(counts) > 0 {
		return t.tabulate(counts)
	}
	for _, n := range counts {
		err := t.json().print(struct {
			Queue  string     `json:"queue"`
			Reason string     `json:"reason"`
			Count  int64      `json:"count"`
			Oldest *time.Time `json:"oldest"`
			Newest *time.Time `json:"newest"`
		}{n.Queue, n.Reason, n.Letters, moment(n.Oldest), moment(n.Newest)})
		if err != nil {
			return err
		}
	}
	return t.noLetters(ctx, pool, s, len(counts))
}

func (t *tool) tabulate(counts []dlq.Count) error {
	var rows [][]string
	for _, n := range counts {
		rows = append(rows, []string{shown(n.Queue, 60), shown(n.Reason, 40), count(n.Letters), clock(n.Oldest), clock(n.Newest)})
	}
	return table(t.out, []string{"QUEUE", "REASON", ">LETTERS", "OLDEST", "NEWEST"}, rows)
}
