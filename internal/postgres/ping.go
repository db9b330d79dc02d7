package postgres

import "context"

// writesSQL says whether this very transaction may write.
const writesSQL = `NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean`

// pingSQL reads no row, but needs the table and the right to read it.
const pingSQL = `
SELECT ` + writesSQL + `,
       (SELECT true FROM {outbox} LIMIT 0)`

// Ping asks whether the table can be reached, and reports whether it can be
// written to.
func (t *Table) Ping(ctx context.Context, db Rower) (writes bool, err error) {
	err = db.QueryRow(ctx, t.sql.ping).Scan(&writes, new(*bool))
	return writes, err
}
