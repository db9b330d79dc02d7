package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/queue"
)

// benchmark is what is to be measured.
type benchmark struct {
	messages, bytes, batch int
	samples, concurrency   int
	asJSON                 bool
}

// measured is what came out.
type measured struct {
	Server   string  `json:"server"`
	Messages int     `json:"messages"`
	Bytes    int     `json:"bytes"`
	Publish  float64 `json:"publish_per_second"`
	Drain    float64 `json:"drain_per_second"`
	P50      float64 `json:"start_p50_ms"`
	P99      float64 `json:"start_p99_ms"`
}

func newBench(t *tool) *cobra.Command {
	var b benchmark
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this database with an outbox of its own",
		Long: `bench publishes messages and handles them, in an outbox of its own, in a schema that it makes and drops, after ctrl-C too; what a run
that was killed has left is dropped by the next. The role needs CREATE on the database. It touches no other table, but it is load: think
twice before you run it on a server that others use.

  publish  messages a second, published in batches of --batch, each a transaction
  drain    messages a second that one worker handles and settles, from its start, with a handler that does nothing
  start    how long after a commit an idle worker starts the message's handler: the median, and the 99th of 100

It says what this server, network and machine can do, and compares with nothing: for that there is contrib/bench.`,
		Example: `  letterbox bench
  letterbox bench --messages 100000 --bytes 1000 --concurrency 32
  letterbox bench --messages 1000 --json`,
		Args: args(),
		RunE: func(c *cobra.Command, _ []string) error {
			if b.messages < 1 || b.batch < 1 || b.samples < 1 || b.concurrency < 1 || b.bytes < 0 || b.bytes > queue.DefaultMaxBytes {
				return usagef("--messages, --batch, --samples and --concurrency are 1 at least, and --bytes up to %d", queue.DefaultMaxBytes)
			}
			return t.bench(c.Context(), b)
		},
	}
	f := c.Flags()
	f.IntVar(&b.messages, "messages", 10_000, "how many messages to publish and drain")
	f.IntVar(&b.bytes, "bytes", 100, "size of a payload")
	f.IntVar(&b.batch, "batch", 1000, "how many to publish in a transaction")
	f.IntVar(&b.samples, "samples", 200, "how many to publish one by one to an idle worker")
	f.IntVar(&b.concurrency, "concurrency", 16, "the worker's Concurrency")
	f.BoolVar(&b.asJSON, "json", false, "print JSON")
	return c
}

func (t *tool) bench(ctx context.Context, b benchmark) (err error) {
	config, err := t.config()
	if err != nil {
		return err
	}
	config.MaxConns = 8
	pool, err := t.open(ctx, config)
	if err != nil {
		return err
	}
	s, err := newScratch(ctx, pool)
	if err != nil {
		return t.explain(ctx, err)
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	m, err := b.measure(ctx, t, pool, s)
	if err != nil {
		return t.explain(ctx, err)
	}
	if b.asJSON {
		return t.json().print(m)
	}
	t.line("publish  %8.0f messages/s", m.Publish)
	t.line("drain    %8.0f messages/s", m.Drain)
	t.line("start    %8.2f ms p50, %.2f ms p99", m.P50, m.P99)
	return nil
}

func (b benchmark) measure(ctx context.Context, t *tool, pool *pgxpool.Pool, s *scratch) (m measured, err error) {
	t.note("%s; %d messages of %d bytes, in schema %s", s.server, b.messages, b.bytes, s.outbox.Schema)
	m = measured{Server: s.server, Messages: b.messages, Bytes: b.bytes}
	q := queue.New("bench").In(s.outbox)
	if m.Publish, err = b.publish(ctx, t, pool, q); err != nil {
		return m, err
	}
	if m.Drain, err = b.drain(ctx, t, pool, q); err != nil {
		return m, err
	}
	waits, err := b.start(ctx, t, pool, q)
	if err != nil {
		return m, err
	}
	slices.Sort(waits)
	m.P50, m.P99 = percentile(waits, 50), percentile(waits, 99)
	return m, nil
}

// percentile of sorted times, in milliseconds: the least that so many in 100 do not exceed.
func percentile(sorted []time.Duration, p float64) float64 {
	at := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return float64(sorted[max(0, at)]) / float64(time.Millisecond)
}

func (b benchmark) publish(ctx context.Context, t *tool, pool *pgxpool.Pool, q queue.Queue) (perSecond float64, err error) {
	bar := t.progress(int64(b.messages), "publishing")
	defer bar.end()
	payload := make([]byte, b.bytes)
	// A batch that has begun comes to its end: the server would go on with it for a while after ctrl-C, and that would be
	// in the way of dropping the schema.
	whole := context.WithoutCancel(ctx)
	began := time.Now()
	for done := 0; done < b.messages; {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		drafts := make([]queue.Draft, min(b.batch, b.messages-done))
		for i := range drafts {
			drafts[i] = q.Draft(payload)
		}
		err := transact(whole, pool, func(tx pgx.Tx) error {
			_, err := queue.Publish(whole, tx, drafts...)
			return err
		})
		if err != nil {
			return 0, err
		}
		done += len(drafts)
		bar.to(int64(done))
	}
	return float64(b.messages) / time.Since(began).Seconds(), nil
}
