package postgres

import "context"

// pingSQL reads no row, but needs the table and the right to read it.
const pingSQL = `
SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean,
       (SELECT true FROM {outbox} LIMIT 0)`

// Ping asks whether the table can be reached, and reports whether it can be
// written to.
func (t *Table) Ping(ctx context.Context, db Rower) (writes bool, err error) {
	err = db.QueryRow(ctx, t.sql.ping).Scan(&writes, new(*bool))
	return writes, err
}
