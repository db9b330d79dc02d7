package pgtest_test

import (
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

func TestNew_GivesEachTestItsOwnDatabase(t *testing.T) {
	t.Parallel()
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := pgtest.New(t, pgtest.Schema("CREATE TABLE a (n int); INSERT INTO a VALUES (1)"))
			var n int
			is.NoErr(db.Pool.QueryRow(t.Context(), "INSERT INTO a VALUES (2) RETURNING (SELECT count(*) FROM a)").Scan(&n))
			is.Equal(n, 1)
		})
	}
}
