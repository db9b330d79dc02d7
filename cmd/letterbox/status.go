package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/letterbox-go/letterbox/queue"
)

// watching is what is to be shown, and how often.
type watching struct {
	opts     queue.StatsOptions
	interval time.Duration
	repeats  bool
	asJSON   bool
}

func newStatus(t *tool) *cobra.Command {
	var (
		w    watching
		once bool
	)
	c := &cobra.Command{
		Use:   "status [QUEUE...]",
		Short: "Show what each queue holds",
		Long: `status shows what each queue holds, or those that are named. On a terminal it goes on, each --interval, until ctrl-C; elsewhere it
shows it once, unless --interval is given. Where nothing is known of a queue that is named, since it is empty or the name is wrong,
that is said, and the exit code is 1 where it is shown once.

  due        messages that wait for a worker; OLDEST is how long the first has been waiting
  leased     with a worker; of these, EXPIRED are those whose worker seems to have died: no extension for --lease
  scheduled  waiting for their time
  retrying   waiting for their time, after a failure
  dead       dead letters
  growth     by how many messages a second what the queue holds has grown

Counts end at --cap: 10000+ is that many, or more. Rates are taken over the last ten seconds or so, from PostgreSQL's own numbers,
which come up to a second late.`,
		Example: `  letterbox status
  letterbox status orders.placed --once
  letterbox status --json
  letterbox status --json --interval 10s | jq .queues`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: t.queuesOfFlag,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				w.opts.Queues = args
			}
			const least = 100 * time.Millisecond
			if w.interval < least {
				return usagef("--interval is %v, it must be %v at least", w.interval, least)
			}
			w.repeats = !once && (terminal(t.out) && !w.asJSON || c.Flags().Changed("interval"))
			return t.status(c.Context(), w)
		},
	}
	f := c.Flags()
	f.DurationVar(&w.interval, "interval", 2*time.Second, "how often to look")
	f.BoolVar(&once, "once", false, "look once")
	f.Int64Var(&w.opts.Cap, "cap", 10_000, "how far to count")
	f.DurationVar(&w.opts.Lease, "lease", time.Minute, "the workers' lease: one that was not extended for so long has expired")
	f.BoolVar(&w.asJSON, "json", false, "print JSON, a line for each look")
	c.MarkFlagsMutuallyExclusive("once", "interval")
	return c
}

// history is how far back rates look: PostgreSQL's numbers are up to a second late, which over ten is little.
const history = 10 * time.Second

func (t *tool) status(ctx context.Context, w watching) error {
	pool, err := t.connect(ctx)
	if err != nil {
		return err
	}
	var seen []queue.Stats
	for {
		now, paused, strange, err := t.stats(ctx, pool, w)
		switch {
		case ctx.Err() != nil && len(seen) > 0:
			return nil // ctrl-C is how it ends
		case err != nil && len(seen) == 0:
			return err // later, the database may come back
		case err != nil:
			t.note("%v", err)
		default:
			for len(seen) > 1 && now.At.Sub(seen[1].At) >= history {
				seen = seen[1:]
			}
			seen = append(seen, now)
			if w.asJSON && w.repeats && len(seen) == 1 {
				for _, text := range strange {
					t.note("%s", text)
				}
			}
			if err := t.showStatus(now, now.Since(seen[0]), paused, strange, w); err != nil {
				return err
			}
		}
		if !w.repeats && len(strange) > 0 {
			return errors.New(strings.Join(strange, "\n"))
		}
		if !w.repeats {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.interval):
		}
	}
}

// stats looks once. What is strange are queues that were named and of which nothing is known.
func (t *tool) stats(ctx context.Context, pool *pgxpool.Pool, w watching) (now queue.Stats, paused map[string]time.Time, strange []string, err error) {
	ctx, cancel := t.bounded(ctx)
	defer cancel()
	defer func() { err = t.explain(ctx, err) }()
	if now, err = t.outbox.Stats(ctx, pool, w.opts); err != nil {
		return now, nil, nil, err
	}
	list, err := t.outbox.Paused(ctx, pool)
	if err != nil {
		return now, nil, nil, err
	}
	paused = make(map[string]time.Time, len(list))
	for _, p := range list {
		paused[p.Queue] = p.Since
		if w.opts.Queues == nil && !slices.ContainsFunc(now.Queues, func(q queue.QueueStats) bool { return q.Queue == p.Queue }) {
			now.Queues = append(now.Queues, queue.QueueStats{Queue: p.Queue}) // it holds nothing, but that it is paused should be seen
		}
	}
	for _, q := range now.Queues {
		if w.opts.Queues == nil || q.Depth().N > 0 {
			continue
		}
		err := t.known(ctx, pool, q.Queue)
		if unknown, is := errors.AsType[unknownQueue](err); is {
			strange = append(strange, unknown.Error())
		} else if err != nil {
			return now, nil, nil, err
		}
	}
	return now, paused, strange, nil
}

func (t *tool) showStatus(now queue.Stats, rates queue.Rates, paused map[string]time.Time, strange []string, w watching) error {
	if w.asJSON {
		return t.json().print(newSnapshot(now, rates, paused))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s  %s", t.outboxName(), clock(now.At))
	if rates.Known {
		fmt.Fprintf(&b, "  published %.1f/s  removed %.1f/s  died %.1f/s", rates.Published, rates.Removed, rates.Died)
	}
	b.WriteString("\n\n")
	growth := map[string]string{}
	for _, r := range rates.Queues {
		if r.Known {
			growth[r.Queue] = fmt.Sprintf("%+.1f/s", r.Growth)
		}
	}
	var rows [][]string
	for _, q := range now.Queues {
		state := ""
		if since, is := paused[q.Queue]; is {
			state = "paused " + clock(since)
		}
		dead := q.Dead.String()
		if now.DeadErr != nil {
			dead = "?"
		}
		oldest := ""
		if q.OldestDue > 0 {
			oldest = span(q.OldestDue)
		}
		rows = append(rows, []string{
			shown(q.Queue, 40), q.Due.String(), oldest, q.Leased.String(), q.Expired.String(), q.Scheduled.String(), q.Retrying.String(),
			dead, growth[q.Queue], state,
		})
	}
	if err := table(&b, []string{"QUEUE", ">DUE", ">OLDEST", ">LEASED", ">EXPIRED", ">SCHEDULED", ">RETRYING", ">DEAD", ">GROWTH", ""}, rows); err != nil {
		return err
	}
	if len(rows) == 0 {
		b.WriteString("no queue holds anything\n")
	}
	if w.repeats { // else it is the error
		for _, text := range strange {
			b.WriteString(text + "\n")
		}
	}
	if now.MoreQueues && w.opts.Queues == nil {
		b.WriteString("there are more queues: name those to see\n")
	}
	if now.DeadErr != nil {
		fmt.Fprintf(&b, "dead letters are not counted: %v\n", now.DeadErr)
	}
	_, err := t.out.Write(t.screen(b.Bytes(), w.repeats))
	return err
}

// outboxName is the outbox as the flags name it.
func (t *tool) outboxName() string {
	name := "outbox"
	if t.outbox.Table != "" {
		name = t.outbox.Table
	}
	if t.outbox.Schema != "" {
		name = t.outbox.Schema + "." + name
	}
	return name
}

// screen is text as it replaces what a terminal shows, no longer than that is high; anywhere else, text as it is.
func (t *tool) screen(text []byte, repeats bool) []byte {
	f, ok := t.out.(*os.File)
	if !repeats || !ok || !terminal(f) {
		return text
	}
	lines := strings.SplitAfter(string(text), "\n")
	if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 2 && len(lines) > height {
		rest := len(lines) - height + 1
		lines = append(lines[:height-2], plural(rest, "further line")+"\n")
	}
	// To the top, and each line with what was behind it taken away.
	var b bytes.Buffer
	b.WriteString("\x1b[H")
	for _, line := range lines {
		b.WriteString(strings.Replace(line, "\n", "\x1b[K\n", 1))
	}
	b.WriteString("\x1b[J")
	return b.Bytes()
}
