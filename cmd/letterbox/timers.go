package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/timers"
)

func newTimers(t *tool) *cobra.Command {
	c := group("timers", "List and cancel timers",
		"timers lists the timers of an outbox, and cancels those of a queue.",
		newTimersList(t), newTimersCancel(t))
	c.Example = `  letterbox timers list --queue reminders
  letterbox timers cancel reminders order-7`
	return c
}

func newTimersList(t *tool) *cobra.Command {
	var (
		f           timers.Filter
		from, until instant
		limit       int
		asJSON      bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List timers by due time",
		Long: `list lists timers by due time: those that wait, for their time or for a retry, and with --running those that a worker has
claimed too. Payloads are not shown: see 'letterbox peek'. The exit code is 1 where a filter matches nothing.`,
		Example: `  letterbox timers list
  letterbox timers list --queue reminders --prefix order- --due-before 2026-01-31
  letterbox timers list --running --limit 0 --json`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit is %d, it must not be below zero", limit)
			}
			f.DueFrom, f.DueBefore = from.Time, until.Time
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error {
				return t.listTimers(ctx, pool, f, limit, asJSON)
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.Queue, "queue", "", "only those of this queue")
	fl.StringVar(&f.Prefix, "prefix", "", "only those whose id begins with this")
	fl.Var(&from, "due-from", "only those due then or later")
	fl.Var(&until, "due-before", "only those due before")
	fl.BoolVar(&f.Running, "running", false, "those that a worker has claimed, too")
	fl.IntVar(&limit, "limit", 100, "how many at most; 0: all")
	fl.BoolVar(&asJSON, "json", false, "print JSON, a line for each timer")
	return c
}

func (t *tool) listTimers(ctx context.Context, pool *pgxpool.Pool, f timers.Filter, limit int, asJSON bool) error {
	var rows [][]string
	now := time.Now()
	found, err := walk(t, limit, func(after string) ([]timers.Live, error) {
		return timers.In(t.outbox).List(ctx, pool, f, timers.Page{Size: pageSize, After: after})
	}, func(l timers.Live) error {
		if asJSON {
			return t.json().print(newTimer(l))
		}
		rows = append(rows, []string{shown(l.Queue, 60), shown(l.TimerID, 60), timerState(l, now), clock(l.DueAt), count(l.Attempts), count(l.ID)})
		return nil
	})
	if err != nil {
		return err
	}
	switch {
	case found == 0 && f == (timers.Filter{Running: f.Running}):
		t.note("there are no timers")
		return nil
	case found == 0:
		return t.nothing(ctx, pool, "timer", f.Queue)
	case asJSON:
		return nil
	}
	return table(t.out, []string{"QUEUE", "TIMER", "STATE", "DUE", ">ATTEMPTS", ">MESSAGE"}, rows)
}

// nothing is the error of a filter that matches nothing.
func (t *tool) nothing(ctx context.Context, pool *pgxpool.Pool, what, queueName string) error {
	if queueName != "" {
		if err := t.known(ctx, pool, queueName); err != nil {
			return err
		}
	}
	return fmt.Errorf("no %s matches", what)
}

func timerState(l timers.Live, now time.Time) string {
	switch {
	case l.Leased:
		return "running"
	case l.Attempts > 0:
		return "retrying"
	case !l.DueAt.IsZero() && l.DueAt.Before(now):
		return "due"
	}
	return "scheduled"
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// timer is one in JSON.
type timer struct {
	MessageID     int64      `json:"message_id"`
	Queue         string     `json:"queue"`
	TimerID       string     `json:"timer_id"`
	Running       bool       `json:"running"`
	DueAt         *time.Time `json:"due_at"`
	ClaimedAt     *time.Time `json:"claimed_at"`
	CreatedAt     *time.Time `json:"created_at"`
	Attempts      int64      `json:"attempts"`
	Deliveries    int64      `json:"deliveries"`
	ContentType   string     `json:"content_type"`
	CorrelationID string     `json:"correlation_id"`
}

func newTimer(l timers.Live) timer {
	return timer{
		MessageID: l.ID, Queue: l.Queue, TimerID: l.TimerID, Running: l.Leased, DueAt: moment(l.DueAt), ClaimedAt: moment(l.ClaimedAt),
		CreatedAt: moment(l.CreatedAt), Attempts: l.Attempts, Deliveries: l.Deliveries,
		ContentType: l.ContentType(), CorrelationID: l.CorrelationID(),
	}
}
