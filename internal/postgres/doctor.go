package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// QueueOf returns the queue of a message, by the primary key.
func (t *Table) QueueOf(ctx context.Context, db Rower, id int64) (queue string, ok bool, err error) {
	err = db.QueryRow(ctx, `SELECT queue FROM `+t.outbox()+` WHERE id = $1`, id).Scan(&queue)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	return queue, err == nil, err
}

// Died is what became of a message that is a dead letter.
type Died struct {
	Letter        int64
	Queue, Reason string
	At            time.Time
}

// DiedAs finds the last dead letter that a message became. No index serves it: it
// reads the table of dead letters, for somebody who looks for one message.
func (t *Table) DiedAs(ctx context.Context, db Rower, id int64) (d Died, ok bool, err error) {
	err = db.QueryRow(ctx, `
SELECT id, queue, failure_reason, CASE WHEN isfinite(failed_at) THEN failed_at ELSE now() END
FROM `+t.deadLetters()+` WHERE original_id = $1 ORDER BY id DESC LIMIT 1`, id).Scan(&d.Letter, &d.Queue, &d.Reason, &d.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, false, nil
	}
	return d, err == nil, err
}

// asleepSQL counts the sessions that hold lock B of a queue, of which pg_locks has
// the key in two halves. It only looks: a publisher that tried for the lock would
// tell others that somebody looks.
const asleepSQL = `
SELECT count(*)
FROM pg_locks AS l
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ShareLock'
  AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = `

// Asleep counts the workers that have told publishers that they sleep, and so are
// waiting for a notification of the queue. Any role may ask.
func (t *Table) Asleep(ctx context.Context, db Rower, queue string) (n int, err error) {
	key := strings.NewReplacer("{q}", "$1::text", "{channel}", literal(t.channel)).Replace(lockB)
	if err := db.QueryRow(ctx, asleepSQL+key, queue).Scan(&n); err != nil {
		return 0, fmt.Errorf("look for sleeping workers: %w", err)
	}
	return n, nil
}
