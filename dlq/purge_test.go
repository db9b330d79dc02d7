package dlq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
	"github.com/letterbox-go/letterbox/internal/access"
	"github.com/letterbox-go/letterbox/queue"
)

func contains(err error, part string) bool { return strings.Contains(err.Error(), part) }

func TestPurge_DeletesWhatTheFilterSelects(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, newDB func(*testing.T) access.Pool) {
		for _, tt := range []struct {
			name    string
			letters dlq.Letters
			filter  dlq.Filter
			opts    []dlq.PurgeOption
			want    int64
		}{
			{"everything", letters, dlq.Everything(), nil, 25},
			{"everything of one queue", dlq.Of(queue.New("mails")), dlq.Everything(), nil, 5},
			{"a queue", letters, dlq.Filter{Queue: "orders"}, nil, 20},
			{"by age", letters, dlq.Filter{OlderThan: 10500 * time.Millisecond}, nil, 9},
			{"by age, in batches", letters, dlq.Filter{OlderThan: 2500 * time.Millisecond}, []dlq.PurgeOption{dlq.Batch(4)}, 17 + 2},
			{"a limit", letters, dlq.Filter{Queue: "orders"}, []dlq.PurgeOption{dlq.Limit(7), dlq.Batch(3)}, 7},
			{"ids", letters, dlq.Filter{IDs: []int64{1, 2, 25, 99}}, nil, 3},
			{"no ids", letters, dlq.Filter{IDs: []int64{}}, nil, 0},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				is := is.New(t)
				db := newDB(t)
				fillMany(t, db, "orders", 20)
				fillMany(t, db, "mails", 5)
				n, err := tt.letters.Purge(t.Context(), db, tt.filter, tt.opts...)
				is.NoErr(err)
				is.Equal(n, tt.want)
				is.Equal(letterCount(t, db), 25-int(tt.want))
				is.Equal(messageCount(t, db), 0)
			})
		}
	})
}

func TestPurge_NeverDeletesMoreThanABatchAtOnce(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 100)
	_, err := db.Pool.Exec(t.Context(), `
		CREATE TABLE seen (n int);
		CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN INSERT INTO seen SELECT count(*) FROM gone HAVING count(*) > 0; RETURN NULL; END';
		CREATE TRIGGER see AFTER DELETE ON outbox_dlq REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION see()`)
	is.NoErr(err)
	n, err := letters.Purge(t.Context(), db.Pool, dlq.Everything(), dlq.Batch(30))
	is.NoErr(err)
	is.Equal(n, int64(100))
	is.Equal(get[[]int32](t, db.Pool, "SELECT array_agg(n ORDER BY n DESC) FROM seen"), []int32{30, 30, 30, 10})
}

func TestPurge_CancelledKeepsItsCount(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := newDB(t)
	fillMany(t, db.Pool, "orders", 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := letters.Purge(ctx, db.Pool, dlq.Everything())
	is.True(errors.Is(err, context.Canceled))
	is.Equal(n, int64(0))
	is.Equal(letterCount(t, db.Pool), 10)
}
