package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// breach is a rule that does not hold.
type breach struct {
	rule  string
	lines []string // the first of them
	count int
}

func (b breach) String() string {
	return fmt.Sprintf("%s: %d times\n    %s", b.rule, b.count, strings.Join(b.lines, "\n    "))
}

// shown is how many lines of a breach are shown.
const shown = 5

// count is how many of something there are.
type count struct {
	What string
	N    int64
}

// findings are what the audit tells.
type findings struct {
	breaches []breach

	committed, handled, dead, left, lost int64

	runs    int64
	twice   int64 // runs after one that had succeeded
	steals  int64
	kinds   []count // of messages
	why     []count // of further runs
	reasons []count // of dead letters
}

// audit reads the tables. It changes nothing but what it adds to find its way.
func audit(ctx context.Context, db *pgxpool.Pool, runs []run) (f findings, err error) {
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := loadRuns(ctx, tx, runs); err != nil {
			return fmt.Errorf("load the journals: %w", err)
		}
		if _, err := tx.Exec(ctx, prepareSQL); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		if _, err := tx.Exec(ctx, "ANALYZE"); err != nil {
			return err
		}
		if f.breaches, err = breaches(ctx, tx); err != nil {
			return err
		}
		return f.count(ctx, tx)
	})
	if err != nil {
		return findings{}, fmt.Errorf("audit: %w", err)
	}
	return f, nil
}

func breaches(ctx context.Context, tx pgx.Tx) (found []breach, err error) {
	for _, r := range rules {
		// All parameters are named for every rule, so that a rule can take those it needs.
		rows, err := tx.Query(ctx, `WITH given AS (SELECT $1::interval, $2::bigint, $3::bigint), breach(line) AS (`+r.sql+`)
			SELECT line FROM breach`, leaseTime, deadlyLimit, maxDeliveries)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", r.name, err)
		}
		if len(lines) > 0 {
			found = append(found, breach{r.name, lines[:min(shown, len(lines))], len(lines)})
		}
	}
	return found, nil
}

func (f *findings) count(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE fate = 'handled'), count(*) FILTER (WHERE fate = 'dead'),
		       count(*) FILTER (WHERE fate = 'left'), count(*) FILTER (WHERE fate = 'lost'),
		       (SELECT count(*) FROM run), (SELECT count(*) FROM again WHERE twice),
		       (SELECT count(*) FROM faults.event WHERE op = 'steal')
		FROM fate`).Scan(&f.committed, &f.handled, &f.dead, &f.left, &f.lost, &f.runs, &f.twice, &f.steals)
	if err != nil {
		return err
	}
	for _, q := range []struct {
		into *[]count
		sql  string
	}{
		{&f.kinds, `SELECT kind, count(*) FROM fate GROUP BY 1 ORDER BY 2 DESC, 1`},
		{&f.why, `SELECT coalesce(why, 'none') || CASE WHEN twice THEN ', after success' ELSE '' END, count(*) FROM again GROUP BY 1 ORDER BY 2 DESC, 1`},
		{&f.reasons, `SELECT failure_reason, count(*) FROM buried GROUP BY 1 ORDER BY 2 DESC, 1`},
	} {
		rows, err := tx.Query(ctx, q.sql)
		if err != nil {
			return err
		}
		if *q.into, err = pgx.CollectRows(rows, pgx.RowToStructByPos[count]); err != nil {
			return err
		}
	}
	return nil
}
