package dlq_test

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/dlq"
)

// buried is a row of the dead-letter table, as FuzzFilter has them.
type buried struct {
	queue, reason, err string
	failed             int64 // microseconds since 1970; the extremes are the infinities
}

const (
	sinceEver = -1 << 63
	forEver   = 1<<63 - 1
	noon      = 993_988_800_000_000 // in 2001
)

// graveyard is what FuzzFilter looks at: ids are their places, from 1.
var graveyard = []buried{
	{"a", "rejected", "connection refused", noon}, {"a", "rejected", "", noon}, {"a", "retry_terminal", "50% off", noon + 1},
	{"a", "decode_error", `back\slash`, noon - 1}, {"a", "rejected", "Connection", noon}, {"b", "rejected", "é", forEver},
	{"b", "", "e\u0301", sinceEver}, {"b", "rejected", "'; --", 0}, {"B", "rejected", "x", -62_167_219_200_000_001},
	{"ä", "Rejected", "x_y", noon + 999_999}, {"", "rejected", "x", 253_402_300_799_999_999}, {"a", "rejected", "x", 9_000_000_000_000_000_000},
}

func (b buried) timestamp() pgtype.Timestamptz {
	switch b.failed {
	case sinceEver:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	case forEver:
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(b.failed), Valid: true}
}

// Whatever a filter, a page and a cursor are, everything that takes them agrees with
// a walk over all rows, or refuses them.
func FuzzFilter(f *testing.F) {
	db := newDB(f)
	for i, b := range graveyard {
		_, err := db.Pool.Exec(f.Context(), `INSERT INTO outbox_dlq (id, original_id, queue, payload, deliveries_count, created_at, failed_at, failure_reason, last_exception)
			VALUES ($1, $1, $2, 'p', 1, now(), $3, $4, NULLIF($5, ''))`, i+1, b.queue, b.timestamp(), b.reason, b.err)
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add("a", "rejected", "onnection", int64(noon), int64(0), int64(0), int64(0), int64(0), []byte(nil), false, 2, "")
	f.Add("", "", "", int64(0), int64(0), int64(noon), int64(1000), int64(0), []byte{0, 1, 1, 9, 200}, true, 3, strconv.Itoa(noon)+".2")
	f.Add("b", "", "%", int64(-62_135_596_800_000_000), int64(1), int64(-62_135_596_800_000_000), int64(1), int64(0), []byte{0}, false, 1, "9223372036854775807.6")
	f.Add("", "", `\`, int64(noon), int64(500), int64(noon), int64(1500), int64(time.Hour), []byte(nil), true, 0, "-9223372036854775808.-1")
	f.Add("", "", "", int64(400_000_000_000_000_000), int64(0), int64(0), int64(0), int64(-1), []byte(nil), true, 7, "-210866803200000001.0")
	f.Fuzz(func(t *testing.T, queueName, reason, contains string, after, afterNanos, before, beforeNanos, age int64, ids []byte, oldestFirst bool, size int, cursor string) {
		filter := dlq.Filter{
			Queue: queueName, Reason: reason, ErrorContains: contains, OlderThan: time.Duration(age),
			FailedAfter: instant(after, afterNanos), FailedBefore: instant(before, beforeNanos),
		}
		for i, id := range ids { // of none there is no list, of one an empty list
			if filter.IDs = append(filter.IDs, int64(id)); i == 0 {
				filter.IDs = []int64{}
			}
		}
		ctx := t.Context()
		page, err := letters.List(ctx, db.Pool, filter, dlq.Page{Size: size, After: cursor, OldestFirst: oldestFirst})
		if err != nil {
			if !errors.Is(err, dlq.ErrInvalid) {
				t.Fatalf("%#v, after %q: %v", filter, cursor, err)
			}
			return
		}
		is := is.New(t)
		want, near := selected(filter)
		if near {
			return // the clock moves on meanwhile
		}
		size = cmp.Or(size, 100)
		list := slices.Clone(want)
		if !oldestFirst {
			slices.Reverse(list)
		}
		rest := beyond(list, cursor, oldestFirst)
		is.Equal(idsOf(page), rest[:min(size, len(rest))])

		walked, at := []int64{}, ""
		for {
			page, err := letters.List(ctx, db.Pool, filter, dlq.Page{Size: size, After: at, OldestFirst: oldestFirst})
			is.NoErr(err)
			walked = append(walked, idsOf(page)...)
			if len(page) < size || len(walked) > len(list) {
				break
			}
			at = page[len(page)-1].Cursor()
		}
		is.Equal(walked, list)

		counts, err := letters.Count(ctx, db.Pool, filter)
		is.NoErr(err)
		total := 0
		for _, c := range counts {
			total += int(c.Letters)
		}
		is.Equal(total, len(want))

		slices.Sort(want)
		gone := func(do func(tx pgx.Tx) error) []int64 {
			tx, err := db.Pool.Begin(ctx)
			is.NoErr(err)
			defer func() { is.NoErr(tx.Rollback(ctx)) }()
			is.NoErr(do(tx))
			left, err := tx.Query(ctx, "SELECT n FROM generate_series(1, $1::int) AS n WHERE n NOT IN (SELECT id FROM outbox_dlq) ORDER BY n", len(graveyard))
			is.NoErr(err)
			missing, err := pgx.CollectRows(left, pgx.RowTo[int64])
			is.NoErr(err)
			return append([]int64{}, missing...)
		}
		is.Equal(gone(func(tx pgx.Tx) error {
			done, err := letters.ReplayAll(ctx, tx, filter, dlq.Batch(size))
			is.Equal(done.Moved, int64(len(want)))
			return err
		}), want)
		is.Equal(gone(func(tx pgx.Tx) error {
			n, err := letters.Purge(ctx, tx, filter, dlq.Batch(size))
			if errors.Is(err, dlq.ErrEmptyFilter) {
				n, err = letters.Purge(ctx, tx, dlq.Everything(), dlq.Batch(size))
			}
			is.Equal(n, int64(len(want)))
			return err
		}), want)
	})
}

// instant is the zero time for zeros.
func instant(micros, nanos int64) time.Time {
	if micros == 0 && nanos == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).Add(time.Duration(nanos % 1_000_000))
}

// selected are the ids of what the filter selects, oldest first. near says that the
// age of one is too close to the filter's.
func selected(f dlq.Filter) (list []int64, near bool) {
	list = []int64{}
	until := time.Now().Add(-f.OlderThan)
	for i, b := range graveyard {
		at := b.timestamp()
		finite := at.InfinityModifier == pgtype.Finite
		near = near || f.OlderThan != 0 && finite && at.Time.Sub(until).Abs() < time.Minute
		switch {
		case f.Queue != "" && b.queue != f.Queue, f.Reason != "" && b.reason != f.Reason, !strings.Contains(b.err, f.ErrorContains):
		case f.IDs != nil && !slices.Contains(f.IDs, int64(i+1)):
		case !f.FailedAfter.IsZero() && (b.failed == sinceEver || finite && at.Time.Before(f.FailedAfter)):
		case !f.FailedBefore.IsZero() && (b.failed == forEver || finite && !at.Time.Before(f.FailedBefore)):
		case f.OlderThan != 0 && (b.failed == forEver || finite && at.Time.After(until)):
		default:
			list = append(list, int64(i+1))
		}
	}
	slices.SortFunc(list, func(a, b int64) int {
		return cmp.Or(cmp.Compare(graveyard[a-1].failed, graveyard[b-1].failed), cmp.Compare(a, b))
	})
	return list, near
}

// beyond leaves out what is not after a cursor, in the direction of the list.
func beyond(list []int64, cursor string, oldestFirst bool) []int64 {
	if cursor == "" {
		return list
	}
	text, number, _ := strings.Cut(cursor, ".")
	failed, err1 := strconv.ParseInt(text, 10, 64)
	id, err2 := strconv.ParseInt(number, 10, 64)
	if err1 != nil || err2 != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(list), func(n int64) bool {
		c := cmp.Or(cmp.Compare(graveyard[n-1].failed, failed), cmp.Compare(n, id))
		return c == 0 || (c > 0) != oldestFirst
	})
}
