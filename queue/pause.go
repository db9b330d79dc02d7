package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/internal/store"
)

// Pause stops the delivery of the queue, by every worker, from the commit of tx
// on: claims get nothing any more. Publishing, timers and recurring work go on,
// and their messages wait. What a worker has claimed before is still handled, by
// default no more than some 100 ms of work; see [Prefetch]. It lasts until
// [Queue.Resume], whatever is restarted meanwhile.
//
// It returns false where the queue was paused already. Errors are [ErrNoTransaction],
// [ErrNoTable], what is wrong with the queue, or the database's. It takes the rights
// to INSERT and SELECT on the table.
func (q Queue) Pause(ctx context.Context, tx Tx) (changed bool, err error) {
	return q.mark(ctx, tx, "pause", store.Outbox.Pause)
}

// Resume undoes [Queue.Pause] with the commit of tx, and wakes the workers. It
// returns false where the queue was not paused. It takes the rights to SELECT and
// DELETE on the table.
func (q Queue) Resume(ctx context.Context, tx Tx) (changed bool, err error) {
	return q.mark(ctx, tx, "resume", store.Outbox.Resume)
}

func (q Queue) mark(ctx context.Context, tx Tx, what string,
	mark func(store.Outbox, context.Context, string) (bool, error)) (changed bool, err error) {
	t, err := q.Table()
	if err == nil {
		err = access.Write(ctx, tx, t, false, func(o store.Outbox) error {
			changed, err = mark(o, ctx, q.name)
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("%s queue %q: %w", what, q.name, err)
	}
	return changed, nil
}

// Pause is a queue that is paused.
type Pause struct {
	Queue string
	Since time.Time
}

// Paused lists the queues that are paused, by name.
func (o Outbox) Paused(ctx context.Context, db Reader) ([]Pause, error) {
	t, err := o.Bind()
	if err != nil {
		return nil, err
	}
	var rows []store.Pause
	err = access.Read(db, t, func(o store.Outbox) error {
		rows, err = o.Paused(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list paused queues of %s: %w", t, err)
	}
	all := make([]Pause, len(rows))
	for i, r := range rows {
		all[i] = Pause{Queue: r.Queue, Since: r.Since.UTC()}
	}
	return all, nil
}
