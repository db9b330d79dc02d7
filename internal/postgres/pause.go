package postgres

import (
	"context"
	"encoding/json"

	"github.com/letterbox-go/letterbox/internal/store"
)

// PausedQueue is the queue whose rows are no messages but marks: each is a timer
// that is never due, and its timer id is the name of a queue that is paused. So
// marks need no table and no right of their own, outlive every process, and
// programs that know nothing of them pass over them.
const PausedQueue = "letterbox.paused"

const (
	pausedMark = `'` + PausedQueue + `'`

	// unpausedSQL is the condition of a claim. It does not depend on the row, so
	// PostgreSQL asks the unique index of timers once, and reads nothing more
	// where the queue is paused.
	unpausedSQL = `NOT EXISTS (SELECT FROM {outbox} AS mark
                    WHERE mark.queue = ` + pausedMark + ` AND mark.timer_id = $1)`

	pauseSQL = `
WITH mark AS (
  INSERT INTO {outbox} (queue, payload, next_attempt_at, timer_id)
  VALUES (` + pausedMark + `, '', 'infinity', $1)
  ON CONFLICT (queue, timer_id) WHERE timer_id IS NOT NULL DO NOTHING
  RETURNING id
)
SELECT count(*) FROM mark`

	resumeSQL = `
WITH mark AS (
  DELETE FROM {outbox} WHERE queue = ` + pausedMark + ` AND timer_id = $1::text
  RETURNING timer_id
), told AS (
  SELECT {tell:timer_id} FROM mark
)
SELECT count(*) FROM told`

	pausedSQL = `
SELECT coalesce(json_agg(json_build_object('Queue', timer_id, 'Since', created_at) ORDER BY timer_id), '[]')::text
FROM {outbox}
WHERE queue = ` + pausedMark + ` AND timer_id IS NOT NULL`
)

// Pause marks the queue in tx. It returns false where it is marked already.
func (t *Table) Pause(ctx context.Context, tx Rower, queue string) (bool, error) {
	return t.mark(ctx, tx, t.sql.pause, queue)
}

// Resume takes the mark away in tx, and tells the workers. It returns false where
// there is none.
func (t *Table) Resume(ctx context.Context, tx Rower, queue string) (bool, error) {
	return t.mark(ctx, tx, t.sql.resume, queue)
}

func (t *Table) mark(ctx context.Context, tx Rower, sql, queue string) (bool, error) {
	var n int64
	err := tx.QueryRow(ctx, sql, queue).Scan(&n)
	return n > 0, err
}

// Paused lists the queues that are marked, by name.
func (t *Table) Paused(ctx context.Context, db Rower) (all []store.Pause, err error) {
	var text string
	if err := db.QueryRow(ctx, t.sql.paused).Scan(&text); err != nil {
		return nil, err
	}
	return all, json.Unmarshal([]byte(text), &all)
}
