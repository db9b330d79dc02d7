package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

// peeking is what is to be shown of a queue.
type peeking struct {
	queue        queue.Queue
	state        string
	limit        int
	after        string
	id           int64
	full, asJSON bool
}

var states = []queue.MessageState{queue.StateWaiting, queue.StateDue, queue.StateScheduled, queue.StateRetrying, queue.StateLeased}

// stateNames are the names of states, in their order.
func stateNames() (names []string) {
	for _, s := range states {
		names = append(names, s.String())
	}
	return names
}

func newPeek(t *tool) *cobra.Command {
	var p peeking
	c := &cobra.Command{
		Use:   "peek QUEUE",
		Short: "Look at messages without taking them",
		Long: `peek shows messages of a queue: those that wait, by due time, or those of one --state, or the one with --id. It locks and writes
nothing, and no worker notices.

The states: due waits for a worker; scheduled waits for its time, and has never failed; retrying waits for its time, and has failed
before; waiting is these three; leased is with a worker.

A list has the beginning of each payload, and --full, or --id, all of it, with the headers. A payload that is JSON is indented,
other text is shown as it is, and other bytes in base64. The exit code is 1 where there is no such message.`,
		Example: `  letterbox peek orders.placed
  letterbox peek orders.placed --state retrying --limit 5 --full
  letterbox peek orders.placed --id 4711 --json`,
		Args:              args("QUEUE"),
		ValidArgsFunction: t.queues,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if p.queue, err = t.queue(args[0]); err != nil {
				return err
			}
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error {
				if c.Flags().Changed("id") {
					return t.peekOne(ctx, pool, &p)
				}
				return t.peek(ctx, pool, &p)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&p.state, "state", queue.StateWaiting.String(), "one of "+strings.Join(stateNames(), ", "))
	f.IntVar(&p.limit, "limit", 20, "how many at most")
	f.StringVar(&p.after, "after", "", "go on where a list said that it ended")
	f.Int64Var(&p.id, "id", 0, "the message with this id, in whatever state")
	f.BoolVar(&p.full, "full", false, "headers and payloads, whole")
	f.BoolVar(&p.asJSON, "json", false, "print JSON, a line for each message")
	c.MarkFlagsMutuallyExclusive("id", "state")
	c.MarkFlagsMutuallyExclusive("id", "after")
	_ = c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(stateNames(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (t *tool) peekOne(ctx context.Context, pool *pgxpool.Pool, p *peeking) error {
	m, ok, err := p.queue.PeekID(ctx, pool, p.id)
	switch {
	case err != nil:
		return err
	case !ok:
		if err := t.known(ctx, pool, p.queue.Name()); err != nil {
			return err
		}
		return fmt.Errorf("queue %q has no message %d, or not any more; 'letterbox doctor --message %d' looks further", p.queue.Name(), p.id, p.id)
	case p.asJSON:
		return t.json().print(newMessage(m))
	}
	t.showMessage(m)
	return nil
}

func (t *tool) peek(ctx context.Context, pool *pgxpool.Pool, p *peeking) error {
	state := queue.MessageState(len(states))
	for _, s := range states {
		if s.String() == p.state {
			state = s
		}
	}
	if int(state) == len(states) || p.limit < 1 {
		return usagef("--state is one of %s, and --limit above zero", strings.Join(stateNames(), ", "))
	}
	var rows [][]string
	found := 0
	for next := p.after; ; {
		list, more, err := p.queue.Peek(ctx, pool, state, queue.Page{Size: min(p.limit-found, pageSize), After: next})
		if err != nil {
			return err
		}
		for _, m := range list {
			switch {
			case p.asJSON:
				if err := t.json().print(newMessage(m)); err != nil {
					return err
				}
			case p.full:
				if found > 0 {
					t.line("\n----")
				}
				t.showMessage(m)
			default:
				rows = append(rows, []string{count(m.ID), m.State.String(), clock(m.DueAt), count(m.Attempts), count(m.Deliveries), shown(m.TimerID, 40), glimpse(m.Payload)})
			}
			found++
		}
		if next = more; next == "" {
			break
		}
		if found == p.limit {
			t.note("there are more: --after %s", next)
			break
		}
	}
	if found == 0 {
		if err := t.known(ctx, pool, p.queue.Name()); err != nil {
			return err
		}
		return fmt.Errorf("queue %q has no message that is %s", p.queue.Name(), state)
	}
	if rows == nil {
		return nil
	}
	return table(t.out, []string{">MESSAGE", "STATE", "DUE", ">ATTEMPTS", ">DELIVERIES", "TIMER", "PAYLOAD"}, rows)
}

// glimpse is the beginning of a payload.
func glimpse(payload []byte) string {
	const most = 60
	if !utf8.Valid(payload) {
		return plural(len(payload), "byte")
	}
	return shown(string(payload), most)
}

func (t *tool) showMessage(m queue.Peeked) {
	leased := ""
	if m.State == queue.StateLeased {
		leased = clock(m.LeasedAt)
	}
	t.fields([][2]string{
		{"message", count(m.ID)},
		{"queue", shown(m.Queue, 0)},
		{"timer", shown(m.TimerID, 0)},
		{"state", m.State.String()},
		{"published", clock(m.CreatedAt)},
		{"due", clock(m.DueAt)},
		{"leased", leased},
		{"attempts", count(m.Attempts)},
		{"deliveries", count(m.Deliveries)},
		{"first attempt", unless(m.FirstAttemptAt)},
		{"last attempt", unless(m.LastAttemptAt)},
	})
	t.showContent(m.Headers, m.Payload)
}

// unless is a time for people, or nothing where there is none.
func unless(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return clock(at)
}

// message is one in JSON.
type message struct {
	ID             int64      `json:"id"`
	Queue          string     `json:"queue"`
	TimerID        string     `json:"timer_id"`
	State          string     `json:"state"`
	CreatedAt      *time.Time `json:"created_at"`
	DueAt          *time.Time `json:"due_at"`
	LeasedAt       *time.Time `json:"leased_at"`
	FirstAttemptAt *time.Time `json:"first_attempt_at"`
	LastAttemptAt  *time.Time `json:"last_attempt_at"`
	Attempts       int64      `json:"attempts"`
	Deliveries     int64      `json:"deliveries"`
	content
}

func newMessage(m queue.Peeked) message {
	return message{
		ID: m.ID, Queue: m.Queue, TimerID: m.TimerID, State: m.State.String(), CreatedAt: moment(m.CreatedAt), DueAt: moment(m.DueAt),
		LeasedAt: moment(m.LeasedAt), FirstAttemptAt: moment(m.FirstAttemptAt), LastAttemptAt: moment(m.LastAttemptAt),
		Attempts: m.Attempts, Deliveries: m.Deliveries, content: newContent(m.Headers, m.Payload),
	}
}

// known is an [unknownQueue] where nothing is known of a queue. A queue is what is in it, and who waits for it, so that one
// that is empty and one that nobody uses are the same.
func (t *tool) known(ctx context.Context, db queue.Reader, name string) error {
	stats, err := t.outbox.Stats(ctx, db, queue.StatsOptions{Queues: []string{name}, Cap: 1})
	if err != nil {
		return err
	}
	for _, q := range stats.Queues {
		if q.Depth().N > 0 || q.Dead.N > 0 {
			return nil
		}
	}
	paused, err := t.outbox.Paused(ctx, db)
	if err != nil || slices.ContainsFunc(paused, func(p queue.Pause) bool { return p.Queue == name }) {
		return err
	}
	table, err := t.outbox.Bind()
	if err != nil {
		return err
	}
	if asleep, err := table.Asleep(ctx, db, name); err != nil || asleep > 0 {
		return err
	}
	dead := "and no dead letter"
	if stats.DeadErr != nil {
		dead = "(and its dead letters cannot be counted)"
	}
	return unknownQueue(fmt.Sprintf("queue %q is empty or not known: it holds no message, no timer %s, is not paused, and no worker is seen that waits for it", name, dead))
}

// unknownQueue is the error of a queue of which nothing is known.
type unknownQueue string

func (e unknownQueue) Error() string { return string(e) }
