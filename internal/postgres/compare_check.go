package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// leaseCheck is what the check says.
const leaseCheck = "CHECK ((acquired_token IS NULL) = (acquired_at IS NULL))"

// check looks for what the check means: its name, its spelling and how many
// constraints say it together are all the same.
func (c *comparison) check(ctx context.Context, tx pgx.Tx, live []liveCheck) error {
	guards, err := guardsLease(ctx, tx, live)
	if err != nil {
		return err
	}
	name := c.need.name + "_lease_ck"
	d := Difference{Part: CheckPart, Name: name, Need: leaseCheck, Missing: len(live) == 0}
	if !guards {
		change, have := make([]string, 0, len(live)+1), make([]string, len(live))
		for i, k := range live {
			have[i] = "CHECK (" + bare(k.Expr) + ")"
			change = append(change, "DROP CONSTRAINT "+quote(k.Name))
		}
		change = append(change, "ADD CONSTRAINT "+quote(name)+" "+leaseCheck)
		d.Have = strings.Join(have, " and ")
		d.Mend = "ALTER TABLE " + c.at + " " + strings.Join(change, ", ")
		c.add(d)
		return nil
	}
	for _, k := range live {
		if !k.Validated {
			c.warn(Difference{
				Part: CheckPart, Name: k.Name, Need: "a check that held for every row when it was made", Have: "NOT VALID",
				Mend: "ALTER TABLE " + c.at + " VALIDATE CONSTRAINT " + quote(k.Name),
			})
		}
	}
	return nil
}

// leaseSQL asks whether a condition says of every state of a lease what the check
// does: a lease is whole or there is none. A check that is null is kept.
const leaseSQL = `
SELECT COALESCE(bool_and((({condition}) IS NOT FALSE) = ((acquired_token IS NULL) = (acquired_at IS NULL))), false)
FROM (VALUES (NULL::uuid), ('00000000-0000-0000-0000-000000000000'), ('6f9619ff-8b86-4011-b42d-00cf4fc964ff')) AS t(acquired_token),
     (VALUES (NULL::timestamptz), ('epoch'), (now()), ('infinity')) AS a(acquired_at)`

// guardsLease runs the checks over the states that a lease can be in.
func guardsLease(ctx context.Context, tx pgx.Tx, checks []liveCheck) (bool, error) {
	if len(checks) == 0 {
		return false, nil
	}
	conditions := make([]string, len(checks))
	for i, k := range checks {
		conditions[i] = "(" + k.Expr + ") IS NOT FALSE"
	}
	var guards bool
	err := pgx.BeginFunc(ctx, tx, func(sub pgx.Tx) error { // a savepoint: it may fail
		sql := strings.ReplaceAll(leaseSQL, "{condition}", strings.Join(conditions, " AND "))
		return sub.QueryRow(ctx, sql).Scan(&guards)
	})
	if err != nil && state(err) != "" && ctx.Err() == nil {
		return false, nil // it cannot be run over such values, so it says something else
	}
	return guards, err
}
