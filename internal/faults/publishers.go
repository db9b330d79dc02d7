package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
	"github.com/letterbox-go/letterbox/typed"
)

// publishers commit messages, some hundred a second, until they are told to stop. What a transaction publishes is written
// down in it; what fails, or is rolled back, has not been published and is not tried again.
type publishers struct {
	pool *pgxpool.Pool
	seed uint64
	rate int // messages a second, together

	keys       atomic.Int64
	commits    atomic.Int64
	rollbacks  atomic.Int64
	failures   atomic.Int64
	waitForAll sync.WaitGroup
}

const (
	publisherCount = 4
	// publishLimit is when a publisher gives a transaction up.
	publishLimit = 5 * time.Second
)

// start begins to publish until ctx ends; wait returns when that is over.
func (p *publishers) start(ctx context.Context) (wait func()) {
	for i := range publisherCount {
		r := rand.New(rand.NewPCG(p.seed, uint64(i)+1))
		p.waitForAll.Go(func() { p.publish(ctx, r) })
	}
	return p.waitForAll.Wait
}

func (p *publishers) publish(ctx context.Context, r *rand.Rand) {
	next := time.Now()
	for {
		n := 1 + r.IntN(20)
		if r.IntN(50) == 0 {
			n = 300
		}
		next = next.Add(time.Duration(n) * time.Second * publisherCount / time.Duration(p.rate))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		if late := time.Since(next); late > time.Second {
			next = time.Now() // what was missed is not made up for
		}
		// A transaction that has begun is brought to an end.
		switch err := p.transaction(context.WithoutCancel(ctx), r, n); {
		case err == nil:
			p.commits.Add(1)
		case errors.Is(err, errRollback):
			p.rollbacks.Add(1)
		default:
			p.failures.Add(1)
		}
	}
}

var errRollback = errors.New("the publisher changed its mind")

// transaction publishes n messages.
func (p *publishers) transaction(ctx context.Context, r *rand.Rand, n int) error {
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var plainOnes []message
		for range n {
			q, m, poison := draw(r, p.keys.Add(1))
			var err error
			switch {
			case poison:
				err = publishPoison(ctx, tx, m)
			case q.Name() == timer.Name():
				err = schedule(ctx, tx, m, time.Duration(r.IntN(3000))*time.Millisecond)
			case q.Name() == plain.Name():
				plainOnes = append(plainOnes, m)
			default:
				err = publish(ctx, tx, kindOf(m), q, m)
			}
			if err != nil {
				return err
			}
		}
		if err := publishAll(ctx, tx, plainOnes); err != nil {
			return err
		}
		if r.IntN(20) == 0 {
			return errRollback
		}
		return nil
	})
}

// kindOf is the name of what the message makes its handlers do.
func kindOf(m message) string {
	words := make([]string, len(m.Do))
	for i, s := range m.Do {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// publishedSQL writes down a message that is published.
const publishedSQL = `INSERT INTO faults.published (key, id, queue, kind) VALUES ($1, $2, $3, $4)`

func publish(ctx context.Context, tx pgx.Tx, kind string, q typed.Queue[message], m message) error {
	id, err := q.Publish(ctx, tx, m)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, publishedSQL, m.Key, id, q.Name(), kind)
	return err
}

func publishAll(ctx context.Context, tx pgx.Tx, all []message) error {
	ids, err := plain.PublishBatch(ctx, tx, all)
	if err != nil {
		return err
	}
	var b pgx.Batch
	for i, id := range ids {
		b.Queue(publishedSQL, all[i].Key, id, plain.Name(), kindOf(all[i]))
	}
	return tx.SendBatch(ctx, &b).Close()
}

// publishPoison publishes what says that it is a message and is none.
func publishPoison(ctx context.Context, tx pgx.Tx, m message) error {
	id, err := plain.Bytes().Publish(ctx, tx, []byte(`{"key": "none`), queue.ContentType("application/json"))
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, publishedSQL, m.Key, id, plain.Name(), "poison")
	return err
}

// schedule schedules a timer twice. Only the first may count.
func schedule(ctx context.Context, tx pgx.Tx, m message, after time.Duration) error {
	id := fmt.Sprint("timer-", m.Key)
	set, err := timer.ScheduleAfter(ctx, tx, id, after, m)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, publishedSQL, m.Key, set.ID, timer.Name(), kindOf(m)); err != nil {
		return err
	}
	again, err := timer.ScheduleAfter(ctx, tx, id, after, m)
	if err != nil {
		return err
	}
	if set.Outcome != timers.Scheduled || again.Outcome == timers.Scheduled {
		return fmt.Errorf("timer %s was scheduled as %v and then as %v", id, set.Outcome, again.Outcome)
	}
	return nil
}
