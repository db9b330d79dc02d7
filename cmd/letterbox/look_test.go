package main

import (
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// full has a queue with a message in each state, and one dead letter.
func full(t *testing.T) *pgtest.DB {
	t.Helper()
	db := made(t)
	execute(t, db, `INSERT INTO outbox (queue, payload, headers, next_attempt_at, attempts_count, deliveries_count, last_attempt_at, acquired_at, acquired_token, created_at) VALUES
		('q', '{"id":1}', '{"content-type":"application/json"}', '2020-01-02 03:04:05Z', 0, 0, NULL, NULL, NULL, '2020-01-02Z'),
		('q', '\x00ff', NULL, '2100-01-01Z', 0, 0, NULL, NULL, NULL, '2020-01-02Z'),
		('q', 'retry', NULL, '2100-01-02Z', 3, 3, '2020-01-03Z', NULL, NULL, '2020-01-02Z'),
		('q', 'lease', NULL, '2020-01-01Z', 0, 1, NULL, now(), gen_random_uuid(), '2020-01-02Z'),
		('q', 'expired', NULL, '2020-01-01Z', 0, 2, NULL, '2020-01-05Z', gen_random_uuid(), '2020-01-02Z')`)
	letters(t, db, "q", 1)
	return db
}

func TestPeek(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	is.Equal(letterbox(t, db, "peek", "q").out, `MESSAGE  STATE      DUE                   ATTEMPTS  DELIVERIES  TIMER  PAYLOAD
      1  due        2020-01-02 03:04:05Z         0           0         {"id":1}
      2  scheduled  2100-01-01 00:00:00Z         0           0         2 bytes
      3  retrying   2100-01-02 00:00:00Z         3           3         retry
`)
	for state, want := range map[string][]int64{
		"waiting": {1, 2, 3}, "due": {1}, "scheduled": {2}, "retrying": {3}, "leased": {5, 4},
	} {
		var got []int64
		for _, m := range objects[message](t, letterbox(t, db, "peek", "q", "--state", state, "--json")) {
			got = append(got, m.ID)
		}
		is.Equal(got, want) // of the state
	}
	is.Equal(letterbox(t, db, "peek", "q", "--id", "1").out, `message     1
queue       q
state       due
published   2020-01-02 00:00:00Z
due         2020-01-02 03:04:05Z
attempts    0
deliveries  0
header  content-type: application/json

{
  "id": 1
}
`)
	r := letterbox(t, db, "peek", "q", "--limit", "1")
	r.wants(t, 0, "", "there are more: --after ")
	after := strings.Fields(r.errs)[4]
	letterbox(t, db, "peek", "q", "--full", "--after", after).wants(t, 0, "2 bytes, in base64:\nAP8=\n\n----\nmessage       3\n", "")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox WHERE acquired_token IS NULL AND deliveries_count IN (0, 3)`), 3) // none was taken
}

func TestPeek_SaysThatThereIsNone(t *testing.T) {
	t.Parallel()
	db := full(t)
	execute(t, db, `DELETE FROM outbox WHERE id = 2`)
	letterbox(t, db, "peek", "q", "--state", "scheduled").wants(t, 1, "", `queue "q" has no message that is scheduled`)
	letterbox(t, db, "peek", "q", "--id", "2").wants(t, 1, "", `queue "q" has no message 2, or not any more`)
	letterbox(t, db, "peek", "quue").wants(t, 1, "", `queue "quue" is empty or not known`)
	letterbox(t, db, "peek", "quue", "--id", "1").wants(t, 1, "", `queue "quue" is empty or not known`)
	letterbox(t, db, "peek", "q", "--after", "nonsense").wants(t, 2, "", "is not what a page said comes next")
	letterbox(t, db, "peek", "q", "--state", "dead").wants(t, 2, "", "--state is one of")
	letterbox(t, db, "peek", "q", "--limit", "0").wants(t, 2, "", "--limit above zero")
}

func TestStatus_Once(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	letterbox(t, db, "pause", "rests", "--new").wants(t, 0, "", "")
	r := letterbox(t, db, "status") // no terminal, so once
	is.Equal(r.code, 0)
	lines := strings.Split(r.out, "\n")
	is.True(strings.HasPrefix(lines[0], "outbox  "))
	is.Equal(strings.Fields(lines[2]), strings.Fields("QUEUE DUE OLDEST LEASED EXPIRED SCHEDULED RETRYING DEAD GROWTH"))
	row := strings.Fields(lines[3])
	is.Equal(append(row[:2:2], row[3:]...), strings.Fields("q 1 2 1 1 1 1"))
	is.Equal(strings.Fields(lines[4])[:8], strings.Fields("rests 0 0 0 0 0 0 paused"))
	is.True(!strings.Contains(r.out, "\x1b"))
	letterbox(t, db, "status", "--cap", "1").wants(t, 0, "1+", "")
	letterbox(t, db, "status", "--interval", "1ms").wants(t, 2, "", "--interval is 1ms")
	letterbox(t, made(t), "status").wants(t, 0, "no queue holds anything", "")
}

func TestStatus_JSON(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	r := letterbox(t, db, "status", "q", "empty", "--json")
	r.wants(t, 1, "", `queue "empty" is empty or not known`)
	s := object[snapshot](t, r)
	is.Equal(len(s.Queues), 2)
	is.Equal(s.Queues[1].Queue, "empty")
	q := s.Queues[0]
	is.Equal([]int64{q.Due, q.Leased, q.Expired, q.Scheduled, q.Retrying, *q.Dead}, []int64{1, 2, 1, 1, 1, 1})
	is.True(q.OldestDue > 1e8)
	is.Equal(s.Rates, nil) // of one look there are none
}

func TestStatus_SaysThatNothingIsKnownOfAQueue(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	letters(t, db, "died", 1)
	letterbox(t, db, "pause", "rests", "--new").wants(t, 0, "", "")
	letterbox(t, db, "status", "q", "died", "rests").wants(t, 0, "rests", "")
	letterbox(t, db, "status", "quue").wants(t, 1, "quue", `queue "quue" is empty or not known: it holds no message, no timer and no dead letter, `)
	r := letterbox(t, db, "status", "q", "quue", "qeuue")
	r.wants(t, 1, "quue", `queue "quue" is empty or not known`)
	r.wants(t, 1, "qeuue", `queue "qeuue" is empty or not known`)
	execute(t, db, `DROP TABLE outbox_dlq`)
	letterbox(t, db, "status", "quue").wants(t, 1, "", "(and its dead letters cannot be counted)")

	// It may come to hold something while it is watched.
	for _, args := range [][]string{{"status", "quue", "--interval", "100ms"}, {"status", "quue", "--interval", "100ms", "--json"}} {
		c := prepare(t, db.DSN, args...)
		c.begin(t)
		await(t, "two looks", func() bool { return strings.Count(c.out.String(), "quue") >= 2 })
		is.NoErr(c.Process.Signal(syscall.SIGINT))
		r := c.end(t)
		is.Equal(r.code, 0)
		is.True(strings.Contains(r.out+r.errs, `queue "quue" is empty or not known`))
	}
}

func TestStatus_GoesOnUntilInterrupt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	c := prepare(t, db.DSN, "status", "--json", "--interval", "100ms")
	c.begin(t)
	await(t, "three looks", func() bool { return strings.Count(c.out.String(), "\n") >= 3 })
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	r := c.end(t)
	r.wants(t, 0, "", "")
	looks := objects[snapshot](t, r)
	is.True(looks[2].Rates != nil)
	is.Equal(*looks[2].Queues[0].Growth, 0.0)
}

func TestStatus_EndsWithItsReader(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := full(t)
	c := prepare(t, db.DSN, "status", "--json", "--interval", "100ms")
	c.Stdout = nil
	out, err := c.StdoutPipe()
	is.NoErr(err)
	c.begin(t)
	_, err = io.ReadFull(out, make([]byte, 100))
	is.NoErr(err)
	is.NoErr(out.Close()) // as head does
	is.True(c.Wait() != nil)
}
