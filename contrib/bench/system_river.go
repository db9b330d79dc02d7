package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue is River. Its defaults fetch at most ten times a second; so that it can show what it can do, its worker has
// the settings of a benchmark: riverWorkers, and the shortest pause between fetches that it allows.
type riverQueue struct{}

// riverWorkers is how many jobs it runs, and so fetches, at once. More did not make it faster.
const riverWorkers = 1000

// riverJob is the message as River wants it.
type riverJob struct{ order }

func (riverJob) Kind() string { return "order" }

type riverWorker struct {
	river.WorkerDefaults[riverJob]
	handle func(number int)
}

func (w *riverWorker) Work(_ context.Context, job *river.Job[riverJob]) error {
	w.handle(job.Args.Number)
	return nil
}

// riverInserter only inserts. It tells workers at most once within its pause between fetches.
var riverInserter = sync.OnceValues(func() (*river.Client[pgx.Tx], error) {
	return river.NewClient(riverpgxv5.New(nil), &river.Config{FetchCooldown: river.FetchCooldownMin})
})

func (riverQueue) setup(ctx context.Context, db *database) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(db.pool), nil)
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func (riverQueue) publish(ctx context.Context, tx pgx.Tx, number int, due time.Time) error {
	client, err := riverInserter()
	if err != nil {
		return err
	}
	_, err = client.InsertTx(ctx, tx, riverJob{newOrder(number)}, &river.InsertOpts{ScheduledAt: due})
	return err
}

func (riverQueue) fill(ctx context.Context, tx pgx.Tx, numbers span, due time.Time) error {
	client, err := riverInserter()
	if err != nil {
		return err
	}
	jobs := make([]river.InsertManyParams, numbers.len())
	for i := range jobs {
		jobs[i] = river.InsertManyParams{
			Args:       riverJob{newOrder(numbers.first + i)},
			InsertOpts: &river.InsertOpts{ScheduledAt: due},
		}
	}
	_, err = client.InsertManyFastTx(ctx, tx, jobs)
	return err
}

// expire: River looks for jobs of dead workers twice a minute, and reschedules them; there is no rate to measure.
func (riverQueue) expire(context.Context, *database, int) error { return errUnsupported }

func (riverQueue) work(ctx context.Context, w worker) error {
	if w.form != single {
		return errUnsupported
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &riverWorker{handle: w.handle}); err != nil {
		return err
	}
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}}
	for i := 1; i < w.queues; i++ {
		queues[fmt.Sprintf("queue%d", i)] = river.QueueConfig{MaxWorkers: 1}
	}
	client, err := river.NewClient(riverpgxv5.New(w.pool), &river.Config{
		Queues:        queues,
		Workers:       workers,
		FetchCooldown: river.FetchCooldownMin,
		Logger:        w.log,
	})
	if err != nil {
		return err
	}
	always := context.WithoutCancel(ctx)
	if err := client.Start(always); err != nil {
		return err
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(always, stall)
	defer cancel()
	if err := client.Stop(stopping); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (riverQueue) left(ctx context.Context, db *database) (n int, err error) {
	err = db.pool.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable')`).Scan(&n)
	return n, err
}
