package timers_test

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/timers"
)

// stored is a row of the outbox, as FuzzList has them.
type stored struct {
	queue, timer string // no timer id: a plain message
	due          int64  // microseconds since 1970; the extremes are the infinities
	leased       bool
}

const (
	sinceEver = -1 << 63
	forEver   = 1<<63 - 1
	noon      = 1_893_499_200_000_000 // in 2030
)

// population is what FuzzList lists: ids are their places, from 1.
var population = []stored{
	{"a", "x", noon, false}, {"a", "x1", noon, false}, {"a", "x%", noon, true}, {"a", "X", noon + 1, false}, {"a", "", noon, false},
	{"a", "é", noon - 1, false}, {"a", "e\u0301", noon, false}, {"a", `\`, forEver, false}, {"a", "forever", forEver, false}, {"a", "😀", sinceEver, false},
	{"b", "x", noon, false}, {"b", "x2", 0, false}, {"b", "x_", -1, true}, {"b", "'", -62_167_219_200_000_001, false}, // in 2 BC
	{"B", "x", noon + 999_999, false}, {"", "x", noon, false}, {"ä", "x\n", noon + 1_000_000, false}, {"ä", " x", 253_402_300_799_999_999, false},
	{"q.ticks", "x", 9_000_000_000_000_000_000, false}, {"q.ticks", "y", 1, true},
}

func (s stored) timestamp() pgtype.Timestamptz {
	switch s.due {
	case sinceEver:
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	case forEver:
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(s.due), Valid: true}
}

// Whatever a filter, a page and a cursor are, List says what a walk over all rows
// says, or refuses them; so does Count; and pages add up to the list.
func FuzzList(f *testing.F) {
	db := newDB(f)
	for i, s := range population {
		var token, at any
		if s.leased {
			token, at = "00000000-0000-0000-0000-000000000001", time.Now()
		}
		_, err := db.Pool.Exec(f.Context(), `INSERT INTO outbox (id, queue, payload, timer_id, next_attempt_at, acquired_token, acquired_at)
			VALUES ($1, $2, 'p', NULLIF($3, ''), $4, $5, $6)`, i+1, s.queue, s.timer, s.timestamp(), token, at)
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add("a", "x", int64(noon), int64(0), int64(0), int64(0), true, 2, "")
	f.Add("", "", int64(0), int64(0), int64(noon), int64(1000), false, 3, strconv.Itoa(noon)+".2")
	f.Add("b", "", int64(-62_135_596_800_000_000), int64(1), int64(-62_135_596_800_000_000), int64(1), true, 1, "infinity.8")
	f.Add("", `\`, int64(noon), int64(500), int64(noon), int64(1500), true, 0, "-infinity.-1")
	f.Add("", "", int64(0), int64(0), int64(0), int64(0), true, 7, "-210866803200000000.0")
	f.Add("", "", int64(0), int64(0), int64(0), int64(0), true, 7, "-9223372036854775808.0")
	f.Fuzz(func(t *testing.T, queueName, prefix string, from, fromNanos, before, beforeNanos int64, running bool, size int, after string) {
		filter := timers.Filter{Queue: queueName, Prefix: prefix, DueFrom: instant(from, fromNanos), DueBefore: instant(before, beforeNanos), Running: running}
		all := timers.In(queue.Outbox{})
		page, err := all.List(t.Context(), db.Pool, filter, timers.Page{Size: size, After: after})
		if err != nil {
			if !errors.Is(err, timers.ErrInvalid) && !errors.Is(err, timers.ErrInvalidTime) {
				t.Fatalf("%#v, after %q: %v", filter, after, err)
			}
			return
		}
		is := is.New(t)
		want := selected(filter)
		is.Equal(ids(page), beyond(want, after)[:min(cmp.Or(size, 100), len(beyond(want, after)))])

		count, err := all.Count(t.Context(), db.Pool, filter)
		is.NoErr(err)
		is.Equal(count.Waiting+count.Running, int64(len(want)))

		walked, cursor := []int64{}, ""
		for {
			page, err := all.List(t.Context(), db.Pool, filter, timers.Page{Size: cmp.Or(size, 100), After: cursor})
			is.NoErr(err)
			walked = append(walked, ids(page)...)
			if len(page) < cmp.Or(size, 100) || len(walked) > len(want) {
				break
			}
			cursor = page[len(page)-1].Cursor()
		}
		is.Equal(walked, want)
	})
}

// instant is the zero time for zeros.
func instant(micros, nanos int64) time.Time {
	if micros == 0 && nanos == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).Add(time.Duration(nanos % 1_000_000))
}

func ids(page []timers.Live) []int64 {
	list := []int64{}
	for _, l := range page {
		list = append(list, l.ID)
	}
	return list
}

// selected are the ids of what the filter selects, in the list's order.
func selected(f timers.Filter) []int64 {
	list := []int64{}
	for i, s := range population {
		at := s.timestamp()
		switch {
		case s.timer == "" || s.leased && !f.Running:
		case f.Queue != "" && s.queue != f.Queue, !strings.HasPrefix(s.timer, f.Prefix):
		case !f.DueFrom.IsZero() && (s.due == sinceEver || s.due != forEver && at.Time.Before(f.DueFrom)):
		case !f.DueBefore.IsZero() && (s.due == forEver || s.due != sinceEver && !at.Time.Before(f.DueBefore)):
		default:
			list = append(list, int64(i+1))
		}
	}
	slices.SortFunc(list, func(a, b int64) int {
		return cmp.Or(cmp.Compare(population[a-1].due, population[b-1].due), cmp.Compare(a, b))
	})
	return list
}

// beyond leaves out what is not after a cursor.
func beyond(list []int64, cursor string) []int64 {
	if cursor == "" {
		return list
	}
	text, number, _ := strings.Cut(cursor, ".")
	due, err := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "infinity":
		due = forEver
	case text == "-infinity":
		due = sinceEver
	case err != nil:
		return nil
	case due == forEver:
		due-- // an instant like others
	}
	id, _ := strconv.ParseInt(number, 10, 64)
	return slices.DeleteFunc(slices.Clone(list), func(n int64) bool {
		return cmp.Or(cmp.Compare(population[n-1].due, due), cmp.Compare(n, id)) <= 0
	})
}
