package queuetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// ErrNoDatabase is what every statement on a [Box] and its transactions returns,
// after it has failed the test: there is no SQL in memory. Code that needs it is
// tested in a transaction on a real PostgreSQL.
var ErrNoDatabase = errors.New("an outbox in memory knows no SQL; use a transaction on a real PostgreSQL")

// refuse fails the test, whatever the code under test makes of the error.
func (b *Box) refuse(call string) error {
	b.t.Helper()
	err := fmt.Errorf("%.200s: %w", call, ErrNoDatabase)
	b.t.Errorf("queuetest: %v", err)
	return err
}

// Query and QueryRow are there because a pool has them: they are [ErrNoDatabase],
// and fail the test.
func (b *Box) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return noSQL{b}.Query(ctx, sql, args...)
}

// QueryRow is as Query.
func (b *Box) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return noSQL{b}.QueryRow(ctx, sql, args...)
}

// noSQL is all that a [pgx.Tx] does but to begin and to end.
type noSQL struct{ b *Box }

func (n noSQL) Exec(_ context.Context, sql string, _ ...any) (pgconn.CommandTag, error) {
	return pgconn.CommandTag{}, n.b.refuse("Exec " + sql)
}

func (n noSQL) Query(_ context.Context, sql string, _ ...any) (pgx.Rows, error) {
	err := n.b.refuse("Query " + sql)
	return failed{err}, err
}

func (n noSQL) QueryRow(_ context.Context, sql string, _ ...any) pgx.Row {
	return failed{n.b.refuse("QueryRow " + sql)}
}

func (n noSQL) CopyFrom(_ context.Context, table pgx.Identifier, _ []string, _ pgx.CopyFromSource) (int64, error) {
	return 0, n.b.refuse("CopyFrom into " + table.Sanitize())
}

func (n noSQL) SendBatch(_ context.Context, batch *pgx.Batch) pgx.BatchResults {
	return failedBatch{n.b.refuse(fmt.Sprintf("SendBatch of %d", batch.Len()))}
}

func (n noSQL) Prepare(_ context.Context, _, sql string) (*pgconn.StatementDescription, error) {
	return nil, n.b.refuse("Prepare " + sql)
}

// LargeObjects has no way to return an error.
func (n noSQL) LargeObjects() pgx.LargeObjects {
	_ = n.b.refuse("LargeObjects")
	return pgx.LargeObjects{}
}

// Conn has no way to return an error.
func (n noSQL) Conn() *pgx.Conn {
	_ = n.b.refuse("Conn")
	return nil
}

// failed is a row, or rows, of a query that failed.
type failed struct{ err error }

func (failed) Close()                                       {}
func (f failed) Err() error                                 { return f.err }
func (failed) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (failed) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (failed) Next() bool                                   { return false }
func (f failed) Scan(...any) error                          { return f.err }
func (f failed) Values() ([]any, error)                     { return nil, f.err }
func (failed) RawValues() [][]byte                          { return nil }
func (failed) Conn() *pgx.Conn                              { return nil }
func (failed) TypeMap() *pgtype.Map                         { return nil }

// failedBatch is the answers to a batch that failed.
type failedBatch struct{ err error }

func (f failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }
func (f failedBatch) Query() (pgx.Rows, error)         { return failed(f), f.err }
func (f failedBatch) QueryRow() pgx.Row                { return failed(f) }
func (f failedBatch) Close() error                     { return f.err }
func (failedBatch) Tx() pgx.Tx                         { return nil }
