package main

import (
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// clocks makes timers a1 (due), a2 (tomorrow), a3 (retrying), b1 (running) in the queue reminders, and a1 in another.
func clocks(t *testing.T) *pgtest.DB {
	t.Helper()
	db := made(t)
	execute(t, db, `INSERT INTO outbox (queue, payload, timer_id, next_attempt_at, attempts_count, acquired_at, acquired_token) VALUES
		('reminders', '', 'a1', '2020-01-02 03:04:05+00', 0, NULL, NULL),
		('reminders', '', 'a2', '2100-01-01 00:00:00+00', 0, NULL, NULL),
		('reminders', '', 'a3', '2100-01-02 00:00:00+00', 2, NULL, NULL),
		('reminders', '', 'b1', '2020-01-01 00:00:00+00', 0, now(), gen_random_uuid()),
		('others', '', 'a1', '2100-01-03 00:00:00+00', 0, NULL, NULL),
		('plain', '', NULL, now(), 0, NULL, NULL)`)
	return db
}

func TestTimersList(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := clocks(t)
	is.Equal(letterbox(t, db, "timers", "list").out, `QUEUE      TIMER  STATE      DUE                   ATTEMPTS  MESSAGE
reminders  a1     due        2020-01-02 03:04:05Z         0        1
reminders  a2     scheduled  2100-01-01 00:00:00Z         0        2
reminders  a3     retrying   2100-01-02 00:00:00Z         2        3
others     a1     scheduled  2100-01-03 00:00:00Z         0        5
`)
	ids := func(args ...string) (all []string) {
		for _, l := range objects[timer](t, letterbox(t, db, append([]string{"timers", "list", "--json"}, args...)...)) {
			all = append(all, l.TimerID)
		}
		return all
	}
	is.Equal(ids("--running"), []string{"b1", "a1", "a2", "a3", "a1"})
	is.Equal(ids("--queue", "others"), []string{"a1"})
	is.Equal(ids("--prefix", "a", "--due-from", "2100-01-01", "--due-before", "2100-01-02T00:00:00+01:00"), []string{"a2"})
	letterbox(t, db, "timers", "list", "--limit", "2").wants(t, 0, "a2", "there are more")
	letterbox(t, db, "timers", "list", "--limit", "4").wants(t, 0, "others", "")
}

func TestTimersList_SaysThatThereAreNone(t *testing.T) {
	t.Parallel()
	db := clocks(t)
	letterbox(t, db, "timers", "list", "--queue", "plain").wants(t, 1, "", "no timer matches")
	letterbox(t, db, "timers", "list", "--queue", "remainders").wants(t, 1, "", `queue "remainders" is empty or not known`)
	letterbox(t, db, "timers", "list", "--prefix", "z").wants(t, 1, "", "no timer matches")
	letterbox(t, made(t), "timers", "list").wants(t, 0, "", "there are no timers")
}

func TestTimersCancel_ChangesNothingWithoutYes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := clocks(t)
	letterbox(t, db, "timers", "cancel", "reminders", "--all").wants(t, 0, "", "3 timers would be cancelled; 1 running would be left\nnothing was changed: --yes does it")
	letterbox(t, db, "timers", "cancel", "reminders", "a1", "b1").wants(t, 0, "a1  due  2020-01-02 03:04:05Z", "1 timer would be cancelled; 1 running would be left")
	letterbox(t, db, "timers", "cancel", "reminders", "--prefix", "b").wants(t, 1, "", "there is nothing to cancel")
	letterbox(t, db, "timers", "cancel", "reminders", "zz").wants(t, 1, "", "there is no timer \"zz\"\nletterbox: no timer matches")
	letterbox(t, db, "timers", "cancel", "remainders", "--all", "--yes").wants(t, 1, "", `queue "remainders" is empty or not known`)
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 6)
}

func TestTimersCancel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, out string
		args      []string
		code      int
		left      string
	}{
		{"named", "cancelled 2 timers\n", []string{"a1", "a3", "a1"}, 0, "a1,a2,b1"},
		{"with one that runs", "cancelled 1 timer\n", []string{"a1", "b1"}, 1, "a1,a2,a3,b1"},
		{"with a prefix", "cancelled 3 timers\n", []string{"--prefix", "a"}, 0, "a1,b1"},
		{"all", "cancelled 3 timers\n", []string{"--all"}, 1, "a1,b1"},
		{"as JSON", `{"queue":"reminders","dry_run":false,"waiting":3,"running":1,"cancelled":3}` + "\n", []string{"--all", "--json"}, 1, "a1,b1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			db := clocks(t)
			r := letterbox(t, db, append([]string{"timers", "cancel", "reminders", "--yes"}, tt.args...)...)
			r.wants(t, tt.code, tt.out, "")
			is.Equal(ask[string](t, db, `SELECT string_agg(timer_id, ',' ORDER BY timer_id) FROM outbox`), tt.left)
		})
	}
}
