package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/letterbox-go/letterbox/internal/store"
)

// ackSQL deletes rows that share a token: those of one claim. Each is found by its
// primary key, in the order of the index. Rows that a transaction holds have no
// token, and none is given, unless it took them over from an expired lease: hence IS
// NOT DISTINCT FROM, here and below; and with = the planner may prefer to walk all
// leases.
const ackSQL = `
DELETE FROM {outbox}
WHERE id = ANY($1::bigint[]) AND acquired_token IS NOT DISTINCT FROM $2::uuid
RETURNING id`

// ackEachSQL deletes rows of many claims (measured: 1.1 to 1.3 times as long as
// ackSQL for 1,000 rows).
const ackEachSQL = `
DELETE FROM {outbox} AS o
USING unnest($1::bigint[], $2::uuid[]) AS mine(id, token)
WHERE o.id = mine.id AND o.acquired_token IS NOT DISTINCT FROM mine.token
RETURNING o.id`

// fewTokens is up to how many claims are acknowledged by a statement each.
const fewTokens = 4

// rescheduleSQL serves Retry (failed) and Release (not failed). Rows that are
// due again at once, because a worker hands them back, are told to the others.
// Times count from now(), so that the claims of the same exchange see what is due
// at once; those of held rows ($6) from the statement, for their transaction began
// before the handler.
const rescheduleSQL = `
WITH moved AS (
  UPDATE {outbox} AS o
  SET acquired_token = NULL, acquired_at = NULL,
      next_attempt_at  = moment.at + make_interval(secs => mine.delay),
      attempts_count   = o.attempts_count + CASE WHEN mine.failed THEN 1 ELSE 0 END,
      deliveries_count = o.deliveries_count - CASE WHEN mine.failed THEN 0 ELSE 1 END
                                            + CASE WHEN $6 THEN 1 ELSE 0 END, -- held: not yet counted
      first_attempt_at = CASE WHEN mine.failed
                              THEN COALESCE(o.first_attempt_at, moment.at - make_interval(secs => mine.ran))
                              ELSE o.first_attempt_at END,
      last_attempt_at  = CASE WHEN mine.failed
                              THEN moment.at - make_interval(secs => mine.ran)
                              ELSE o.last_attempt_at END
  FROM unnest($1::bigint[], $2::uuid[], $3::bool[], $4::float8[], $5::float8[])
       AS mine(id, token, failed, delay, ran),
       (SELECT CASE WHEN $6 THEN statement_timestamp() ELSE now() END AS at) AS moment
  WHERE o.id = mine.id AND o.acquired_token IS NOT DISTINCT FROM mine.token
  RETURNING o.id, o.queue, NOT mine.failed AND mine.delay = 0 AS handed_back
), told AS (
  SELECT count({tell:queue}) AS n
  FROM (SELECT DISTINCT queue FROM moved WHERE handed_back) AS q
)
SELECT id, (SELECT n FROM told) FROM moved`

// burySQL moves rows in one statement: either both tables change or neither. The
// delivery of held rows ($5) is not yet counted.
const burySQL = `
WITH gone AS (
  DELETE FROM {outbox} AS o
  USING unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[]) AS mine(id, token, reason, error)
  WHERE o.id = mine.id AND o.acquired_token IS NOT DISTINCT FROM mine.token
  RETURNING o.id, o.queue, o.payload, o.headers,
            o.deliveries_count + CASE WHEN $5 THEN 1 ELSE 0 END AS deliveries_count, o.created_at, o.timer_id,
            mine.reason, mine.error
)
INSERT INTO {dlq} (original_id, queue, payload, headers, deliveries_count, created_at, timer_id,
                   failure_reason, last_exception)
SELECT id, queue, payload, headers, deliveries_count, created_at, timer_id, reason, NULLIF(error, '')
FROM gone
RETURNING original_id`

// extendSQL never waits: a row that is locked is being settled, or is a timer that a
// transaction moves. All parts see
// one snapshot, so the answer lists locked rows too, and a row that is missing
// from it has lost its lease.
const extendSQL = `
WITH held AS MATERIALIZED (
  SELECT o.id FROM {outbox} AS o
  JOIN unnest($1::bigint[], $2::uuid[]) AS mine(id, token)
    ON o.id = mine.id AND o.acquired_token = mine.token
), free AS MATERIALIZED (
  SELECT o.id FROM {outbox} AS o
  JOIN unnest($1::bigint[], $2::uuid[]) AS mine(id, token)
    ON o.id = mine.id AND o.acquired_token = mine.token
  FOR UPDATE OF o SKIP LOCKED
), extended AS (
  UPDATE {outbox} AS o SET acquired_at = now() FROM free WHERE o.id = free.id
)
SELECT id FROM held`

// lockedSQL finds the rows that others have locked: those that are there, but cannot
// be had at once.
const lockedSQL = `
WITH free AS MATERIALIZED (
  SELECT o.id FROM {outbox} AS o
  JOIN unnest($1::bigint[], $2::uuid[]) AS mine(id, token)
    ON o.id = mine.id AND o.acquired_token = mine.token
  FOR UPDATE OF o SKIP LOCKED
)
SELECT o.id FROM {outbox} AS o
JOIN unnest($1::bigint[], $2::uuid[]) AS mine(id, token)
  ON o.id = mine.id AND o.acquired_token = mine.token
WHERE o.id NOT IN (SELECT id FROM free)`

// giveBackSQL has no index on the token to use; <t>_lease_idx bounds it to the
// rows of these queues that anybody holds.
const giveBackSQL = `
WITH moved AS (
  UPDATE {outbox}
  SET acquired_token = NULL, acquired_at = NULL, next_attempt_at = now(),
      deliveries_count = deliveries_count - 1
  WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {outbox}
    WHERE queue = ANY($1::text[]) AND acquired_token IS NOT NULL AND acquired_token = ANY($2::uuid[])
    FOR UPDATE SKIP LOCKED))
  RETURNING queue
)
SELECT count({tell:queue}) FROM (SELECT DISTINCT queue FROM moved) AS q`

// leases are the two columns that guard every write.
type leases struct {
	ids    []int64
	tokens []pgtype.UUID
}

func (l *leases) grow(n int) {
	l.ids, l.tokens = slices.Grow(l.ids, n), slices.Grow(l.tokens, n)
}

func (l *leases) add(lease store.Lease) {
	l.ids = append(l.ids, lease.ID)
	token := pgUUID(lease.Token)
	token.Valid = lease.Token != uuid.Nil
	l.tokens = append(l.tokens, token)
}

// queueSettles adds the statements of the outcomes to the batch and returns how
// many those are. The rows are leased, or held by the batch's own transaction.
func (t *Table) queueSettles(b *pgx.Batch, outcomes []store.Outcome, held bool) int {
	var (
		acks, moves leases
		failed      []bool
		delay, ran  []float64
	)
	acks.grow(len(outcomes))
	for _, o := range outcomes {
		switch o.Kind {
		case store.Ack:
			acks.add(o.Lease)
		case store.Retry, store.Release:
			moves.add(o.Lease)
			failed = append(failed, o.Kind == store.Retry)
			delay = append(delay, max(0, o.Delay.Seconds()))
			ran = append(ran, max(0, o.Ran.Seconds()))
		}
	}
	n := t.queueAcks(b, acks)
	if len(moves.ids) > 0 {
		b.Queue(t.sql.reschedule, moves.ids, moves.tokens, failed, delay, ran, held)
		n++
	}
	return n
}

// queueAcks is queueSettles for rows to be deleted.
func (t *Table) queueAcks(b *pgx.Batch, acks leases) int {
	byToken := map[pgtype.UUID][]int64{}
	for i, token := range acks.tokens {
		if byToken[token] = append(byToken[token], acks.ids[i]); len(byToken) > fewTokens {
			b.Queue(t.sql.ackEach, acks.ids, acks.tokens)
			return 1
		}
	}
	for token, ids := range byToken {
		b.Queue(t.sql.ack, ids, token)
	}
	return len(byToken)
}

// Bury implements store.Burier.
func (s *Store) Bury(ctx context.Context, outcomes []store.Outcome) (moved, locked []int64, err error) {
	locked, err = s.settleAround(ctx, outcomes, func(free []store.Outcome, pin string) (err error) {
		if len(free) > 0 {
			moved, err = s.ids(ctx, pin, s.table.sql.bury, buryArgs(free, false)...)
		}
		return err
	})
	return moved, locked, err
}

func buryArgs(outcomes []store.Outcome, held bool) []any {
	var (
		l             leases
		reasons, text []string
	)
	for _, o := range outcomes {
		l.add(o.Lease)
		reasons = append(reasons, storable(o.Reason, maxReason))
		text = append(text, storable(o.Error, 0))
	}
	return []any{l.ids, l.tokens, reasons, text, held}
}

// maxReason is the width of failure_reason, in characters.
const maxReason = 64

// storable makes a text that a column takes, of at most so many characters (0:
// any number). A message that could not be buried for the words that go with it
// would come back for ever.
func storable(s string, most int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if most == 0 {
		return s
	}
	for i := range s {
		if most--; most < 0 {
			return s[:i]
		}
	}
	return s
}

// Extend implements store.Extender.
func (s *Store) Extend(ctx context.Context, in []store.Lease) ([]int64, error) {
	if len(in) == 0 {
		return nil, nil
	}
	var l leases
	for _, lease := range in {
		l.add(lease)
	}
	return s.ids(ctx, pinSQL, s.table.sql.extend, l.ids, l.tokens)
}

// settleAround has outcomes settled by write, but for those whose rows others have
// locked for longer than rowWait, which it returns. A write that waits for such a
// row is undone, and made again without it. pin goes before its statements.
func (s *Store) settleAround(ctx context.Context, outcomes []store.Outcome, write func(free []store.Outcome, pin string) error) (locked []int64, err error) {
	var known []store.Outcome
	for i := range outcomes {
		if outcomes[i].Locked {
			known = append(known, outcomes[i])
		}
	}
	if locked, err = s.locked(ctx, known); err != nil {
		return nil, err
	}
	for pin := pinSettleSQL; ; {
		free := outcomes
		if len(locked) > 0 {
			free = slices.DeleteFunc(slices.Clone(outcomes), func(o store.Outcome) bool { return slices.Contains(locked, o.ID) })
		}
		if err := write(free, pin); !isLockTimeout(err) || pin != pinSettleSQL {
			return locked, err
		}
		more, err := s.locked(ctx, free)
		if err != nil {
			return nil, err
		}
		if locked = append(locked, more...); len(more) == 0 {
			pin = pinSQL // it is not a row that is locked, but the table
		}
	}
}

// locked lists those of the rows that others have locked.
func (s *Store) locked(ctx context.Context, outcomes []store.Outcome) ([]int64, error) {
	if len(outcomes) == 0 {
		return nil, nil
	}
	var l leases
	for _, o := range outcomes {
		l.add(o.Lease)
	}
	return s.ids(ctx, pinSQL, s.table.sql.locked, l.ids, l.tokens)
}
