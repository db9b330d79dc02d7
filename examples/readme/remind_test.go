package readme_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/examples/readme"
	"github.com/letterbox-go/letterbox/internal/pgtest"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed/typedtest"
)

// begin begins a transaction in an empty outbox. It is rolled back at the test's end.
func begin(t *testing.T) pgx.Tx {
	t.Helper()
	is := is.New(t)
	sql, err := queue.Outbox{}.SQL()
	is.NoErr(err)
	tx, err := pgtest.New(t, pgtest.Schema(sql)).Pool.Begin(t.Context())
	is.NoErr(err)
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	return tx
}

// TestImport asks a transaction what was published in it, and rolls it back.
func TestImport(t *testing.T) {
	is := is.New(t)
	tx := begin(t)
	_, err := readme.Import(t.Context(), tx, []readme.OrderPlaced{{ID: 7}, {ID: 8}})
	is.NoErr(err)

	m := typedtest.RequirePublished(t, tx, readme.Placed, func(o readme.OrderPlaced) bool { return o.ID == 7 })
	is.Equal(m.Headers["source"], "import")
	is.Equal(m.Delay(), time.Hour)

	is.NoErr(readme.Remind(t.Context(), tx, readme.OrderPlaced{ID: 7}))
	typedtest.RequireScheduled(t, tx, readme.Placed, "remind-7")
}
