package guides

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/letterbox-go/letterbox/queue"
)

// Report tells that a report is there; its text is in a table of its own.
type Report struct {
	ID int64 `json:"id"`
}

// SendReport writes the text and the message in one transaction.
func SendReport(ctx context.Context, tx pgx.Tx, text []byte) error {
	var r Report
	if err := tx.QueryRow(ctx, "INSERT INTO report_texts (text) VALUES ($1) RETURNING id", text).Scan(&r.ID); err != nil {
		return err
	}
	_, err := Reports.Publish(ctx, tx, r)
	return err
}

// PrintReport takes the text away in the transaction that ends the message.
func PrintReport(print func([]byte) error) func(context.Context, pgx.Tx, Report) error {
	return func(ctx context.Context, tx pgx.Tx, r Report) error {
		var text []byte
		if err := tx.QueryRow(ctx, "DELETE FROM report_texts WHERE id = $1 RETURNING text", r.ID).Scan(&text); err != nil {
			return err
		}
		return print(text)
	}
}

// RestReports stops the delivery of reports, by every worker, until it is called with false.
func RestReports(ctx context.Context, db queue.DB, rest bool) error {
	q := Reports.Bytes()
	if rest {
		_, err := q.Pause(ctx, queue.Autocommit(db))
		return err
	}
	_, err := q.Resume(ctx, queue.Autocommit(db))
	return err
}
