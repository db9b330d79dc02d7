package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/internal/postgres"
)

// Results of a check.
const (
	fine    = "ok"
	warning = "warning"
	problem = "problem"
)

// finding is what a check has found.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Queue  string `json:"queue,omitempty"`
	Says   string `json:"says"`
	Do     string `json:"do,omitempty"`
}

// doctor looks at one outbox. Its checks add to what was found; an error is what keeps it from looking at all.
type doctor struct {
	*tool
	pool    *pgxpool.Pool
	table   *postgres.Table
	lease   time.Duration
	heldFor time.Duration
	found   []finding

	pooled bool          // something stands between this and the server
	ahead  time.Duration // the database's clock before this machine's
}

func newDoctor(t *tool) *cobra.Command {
	var (
		message int64
		name    string
		lease   time.Duration
		heldFor time.Duration
		asJSON  bool
	)
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say why messages do not run",
		Long: `doctor looks for what keeps messages from running, and says what to do. It writes nothing. The exit code is 3 where there is a
problem; warnings do not change it.

  connection  the server, the time of a round trip, a pooler in between
  clock       the difference between the database's clock, which alone decides what is due, and this machine's
  writes      whether the server takes writes: a standby does not
  tables      what 'letterbox validate' finds
  notify      whether a notification, sent on one connection, arrives on another, and how soon
  vacuum      what keeps VACUUM from removing dead rows, for --held-for or longer, and how many there are
  queue       for each queue, or the one of --queue or --message: whether it is paused, how long messages have been due, leases that
              have expired, dead letters; whether anything is known of the one of --queue: if not, it is empty or the name is wrong
  workers     those of that queue, as far as they can be seen
  message     with --message: whether it is due, with a worker, waiting for its time or a retry, or a dead letter

A worker can be seen while it sleeps and listens, and by the leases that it holds. One that polls (queue.NoListen, or through
PgBouncer) and has nothing to do cannot; nor can handlers of batches in a transaction, which hold locks and no lease.`,
		Example: `  letterbox doctor
  letterbox doctor --queue orders.placed
  letterbox doctor --message 4711 --json`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if name != "" {
				if _, err := t.queue(name); err != nil {
					return err
				}
			}
			if lease <= 0 {
				return usagef("--lease is %v, it must be above zero", lease)
			}
			if heldFor <= 0 {
				return usagef("--held-for is %v, it must be above zero", heldFor)
			}
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error {
				table, err := t.outbox.Bind()
				if err != nil {
					return err
				}
				d := &doctor{tool: t, pool: pool, table: table, lease: lease, heldFor: heldFor}
				if c.Flags().Changed("message") {
					err = d.examine(ctx, name, &message)
				} else {
					err = d.examine(ctx, name, nil)
				}
				if err != nil {
					return err
				}
				return d.report(asJSON)
			})
		},
	}
	f := c.Flags()
	f.Int64Var(&message, "message", 0, "the message with this id")
	f.StringVar(&name, "queue", "", "only this queue")
	f.DurationVar(&lease, "lease", time.Minute, "the workers' lease: one that was not extended for so long has expired")
	f.DurationVar(&heldFor, "held-for", time.Minute, "for how long a transaction may be open and hold VACUUM back without a warning")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// add notes a finding. An empty queue is none.
func (d *doctor) add(check, result, queue, do, says string, args ...any) {
	d.found = append(d.found, finding{Check: check, Result: result, Queue: queue, Says: fmt.Sprintf(says, args...), Do: do})
}

// examine makes all checks. One that cannot be made is a problem of its own, and the others go on.
func (d *doctor) examine(ctx context.Context, name string, message *int64) error {
	d.noted("connection", d.connection(ctx))
	writes := d.writes(ctx)
	there, err := d.tables(ctx)
	d.noted("tables", err)
	if writes {
		d.noted("notify", d.notify(ctx))
	}
	if there {
		d.noted("vacuum", d.vacuum(ctx))
		if message != nil {
			name, err = d.message(ctx, name, *message)
			d.noted("message", err)
		}
		if message == nil || name != "" {
			d.noted("queue", d.queues(ctx, name))
		}
	}
	return context.Cause(ctx)
}

// noted notes that a check could not be made.
func (d *doctor) noted(check string, err error) {
	if err != nil {
		d.add(check, problem, "", "", "it could not be looked at: %v", err)
	}
}

// report says what was found.
func (d *doctor) report(asJSON bool) error {
	numbers := map[string]int{}
	for _, f := range d.found {
		numbers[f.Result]++
	}
	if asJSON {
		err := d.json().print(struct {
			OK     bool      `json:"ok"`
			Checks []finding `json:"checks"`
		}{numbers[problem] == 0, d.found})
		if err == nil && numbers[problem] > 0 {
			err = errNotInOrder
		}
		return err
	}
	colours := map[string]string{fine: green, warning: yellow, problem: red}
	for _, f := range d.found {
		subject := ""
		if f.Queue != "" {
			subject = shown(f.Queue, 60) + ": "
		}
		d.line("%s  %-10s  %s%s", d.paint(colours[f.Result], fmt.Sprintf("%-7s", f.Result)), f.Check, subject, shownLines(f.Says))
		if f.Do != "" {
			d.line("%21sdo: %s", "", shownLines(f.Do))
		}
	}
	d.line("\n%s, %s", plural(numbers[problem], "problem"), plural(numbers[warning], "warning"))
	if numbers[problem] > 0 {
		return errNotInOrder
	}
	return nil
}
