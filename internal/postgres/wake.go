package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Notify says when a publish notifies the workers.
type Notify uint8

const (
	// NotifySleeping notifies when a worker sleeps.
	NotifySleeping Notify = iota
	// NotifyAlways notifies each time.
	NotifyAlways
	// NotifyNever leaves it to polling.
	NotifyNever
)

// NOTIFY takes a lock over the whole database at commit and holds it over the
// fsync, which ends group commit; so it is sent only when somebody sleeps. Two
// advisory locks for each queue make that race-free, as in Dekker's algorithm:
//
//	A  shared by publishers in flight that did not notify, until their commit is
//	   visible
//	B  shared by workers asleep, on their listening sessions
//
// The publisher takes A before it looks at B; the worker takes B before it looks
// at A, and then claims once more. Nobody waits for a lock. A collision of keys
// only costs a notification that was not needed.
const (
	lockA = `hashtextextended({channel} || '/' || {q}, 1)`
	lockB = `hashtextextended({channel} || '/' || {q}, 2)`

	// Nested CASE keeps the order of the calls; AND does not.
	tellSleeping = `CASE WHEN CASE WHEN pg_try_advisory_xact_lock_shared(` + lockA + `)
            THEN CASE WHEN pg_try_advisory_lock(` + lockB + `)
                      THEN NOT pg_advisory_unlock(` + lockB + `) ELSE true END
            ELSE true END
       THEN pg_notify({channel}, {q})::text END`
	tellAlways = `pg_notify({channel}, {q})::text`
	tellNever  = `NULL::text`

	// dozeSQL takes B where it is not held yet ($2), then probes A. It is null
	// where B could not be had: a publisher is just looking.
	dozeSQL = `
SELECT CASE WHEN CASE WHEN held THEN true ELSE pg_try_advisory_lock_shared(` + lockB + `) END
            THEN CASE WHEN pg_try_advisory_lock(` + lockA + `)
                      THEN pg_advisory_unlock(` + lockA + `) ELSE false END
       END
FROM unnest($1::text[], $2::bool[]) WITH ORDINALITY AS u(queue, held, ord) ORDER BY ord`
	rouseSQL = `SELECT pg_advisory_unlock_shared(` + lockB + `) FROM unnest($1::text[]) AS u(queue)`
)

// telling is the expression that tells the workers of a queue, whose name is an
// expression, too.
func (t *Table) telling(queue string) string {
	how := tellSleeping
	switch t.notify {
	case NotifyAlways:
		how = tellAlways
	case NotifyNever:
		how = tellNever
	}
	return strings.NewReplacer("{q}", queue, "{channel}", literal(t.channel)).Replace(how)
}

const tellSQL = `SELECT count({tell:queue}) FROM unnest($1::text[]) AS q(queue)`

// Tell implements store.Teller.
func (s *Store) Tell(ctx context.Context, queues []string) error {
	_, err := s.ids(ctx, pinSQL, s.table.sql.tell, queues)
	return err
}

// ErrNotListening says that there is no listening connection right now.
var ErrNotListening = errors.New("not listening")

// Sleeper is the part of a [Listener] that tells publishers of one channel who
// sleeps.
type Sleeper struct {
	Listener *Listener
	Channel  string
}

// Doze implements lease.Sleeper.
func (s Sleeper) Doze(ctx context.Context, queues []string) (may []bool, err error) {
	err = s.Listener.do(ctx, func(ctx context.Context, conn *pgx.Conn, held map[sleeping]bool) error {
		had := make([]bool, len(queues))
		for i, q := range queues {
			had[i] = held[sleeping{s.Channel, q}]
		}
		rows, err := conn.Query(ctx, s.fill(dozeSQL), queues, had)
		if err != nil {
			return err
		}
		free, err := pgx.CollectRows(rows, pgx.RowTo[*bool])
		if err != nil {
			return err
		}
		for i, f := range free {
			if f != nil {
				held[sleeping{s.Channel, queues[i]}] = true
			}
			may = append(may, f != nil && *f)
		}
		return nil
	})
	return may, err
}

// Rouse implements lease.Sleeper.
func (s Sleeper) Rouse(ctx context.Context, queues []string) error {
	return s.Listener.do(ctx, func(ctx context.Context, conn *pgx.Conn, held map[sleeping]bool) error {
		var ours []string
		for _, q := range queues {
			if held[sleeping{s.Channel, q}] {
				ours = append(ours, q)
			}
		}
		if len(ours) == 0 {
			return nil
		}
		if _, err := conn.Exec(ctx, s.fill(rouseSQL), ours); err != nil {
			return err
		}
		for _, q := range ours {
			delete(held, sleeping{s.Channel, q})
		}
		return nil
	})
}

func (s Sleeper) fill(sql string) string {
	return strings.NewReplacer("{q}", "queue", "{channel}", literal(s.Channel)).Replace(sql)
}

// sleeping names a lock B that the session holds.
type sleeping struct{ channel, queue string }
