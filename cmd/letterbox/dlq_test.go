package main

import (
	"encoding/json"
	"testing"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/pgtest"
)

// failed has four letters: two of orders, one of them a timer, one of parcels with bytes, and one of a name with an escape
// sequence in it.
func failed(t *testing.T) *pgtest.DB {
	t.Helper()
	db := made(t)
	execute(t, db, `INSERT INTO outbox_dlq (original_id, queue, payload, headers, deliveries_count, created_at, failed_at, failure_reason, last_exception, timer_id) VALUES
		(11, 'orders', '{"id":7,"tags":["a<b"]}', '{"content-type":"application/json","correlation_id":"c7"}', 10, '2020-01-01Z', '2020-01-01 00:05Z', 'retry_terminal', E'no stock:\n  none', NULL),
		(12, 'orders', 'plain text', NULL, 1, '2020-01-02Z', '2020-01-02Z', 'rejected', NULL, 'remind-8'),
		(13, 'parcels', '\xff00', NULL, 1, '2020-01-03Z', '2020-01-03Z', 'decode_error', 'not JSON', NULL),
		(14, E'or\x1b[31mders', '', NULL, 1, now() - interval '1 hour', now() - interval '1 hour', 'rejected', '', NULL)`)
	return db
}

func TestDeadList(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	is.Equal(letterbox(t, db, "dlq", "list", "--failed-before", "2021-01-01").out, `LETTER  FAILED                QUEUE    REASON          DELIVERIES  ERROR
     3  2020-01-03 00:00:00Z  parcels  decode_error             1  not JSON
     2  2020-01-02 00:00:00Z  orders   rejected                 1
     1  2020-01-01 00:05:00Z  orders   retry_terminal          10  no stock:   none
`)
	ids := func(args ...string) (all []int64) {
		for _, l := range objects[letter](t, letterbox(t, db, append([]string{"dlq", "list", "--json"}, args...)...)) {
			all = append(all, l.ID)
		}
		return all
	}
	is.Equal(ids(), []int64{4, 3, 2, 1})
	is.Equal(ids("--oldest-first", "--limit", "3"), []int64{1, 2, 3})
	is.Equal(ids("--queue", "orders"), []int64{2, 1})
	is.Equal(ids("--reason", "rejected"), []int64{4, 2})
	is.Equal(ids("--older-than", "30d", "--error-contains", "stock"), []int64{1})
	is.Equal(ids("--failed-after", "2020-01-02", "--failed-before", "2020-01-03"), []int64{2})
	is.Equal(ids("--id", "4,1", "--id", "2", "--limit", "0"), []int64{4, 2, 1})
	letterbox(t, db, "dlq", "list", "--limit", "1").wants(t, 0, "or [31mders", "there are more") // no escape reaches a terminal

	is.Equal(letterbox(t, db, "dlq", "list", "--count", "--queue", "orders").out, `QUEUE   REASON          LETTERS  OLDEST                NEWEST
orders  rejected              1  2020-01-02 00:00:00Z  2020-01-02 00:00:00Z
orders  retry_terminal        1  2020-01-01 00:05:00Z  2020-01-01 00:05:00Z
`)
	is.Equal(letterbox(t, db, "dlq", "list", "--count", "--json", "--reason", "decode_error").out,
		`{"queue":"parcels","reason":"decode_error","count":1,"oldest":"2020-01-03T00:00:00Z","newest":"2020-01-03T00:00:00Z"}`+"\n")
}

func TestDeadList_SaysThatThereAreNone(t *testing.T) {
	t.Parallel()
	db := failed(t)
	letterbox(t, db, "dlq", "list", "--queue", "parcels", "--reason", "rejected").wants(t, 1, "", "no dead letter matches")
	letterbox(t, db, "dlq", "list", "--count", "--id", "99", "--json").wants(t, 1, "", "no dead letter matches")
	letterbox(t, db, "dlq", "list", "--queue", "odrers").wants(t, 1, "", `queue "odrers" is empty or not known`)
	letterbox(t, made(t), "dlq", "list").wants(t, 0, "", "there are no dead letters")
	db = made(t)
	execute(t, db, `DROP TABLE outbox_dlq`)
	letterbox(t, db, "dlq", "list").wants(t, 1, "", `its dead-letter table "outbox_dlq"`)
}

func TestDeadShow(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	is.Equal(letterbox(t, db, "dlq", "show", "1").out, `letter      1
queue       orders
message     11
published   2020-01-01 00:00:00Z
failed      2020-01-01 00:05:00Z
deliveries  10
reason      retry_terminal
error       no stock:
              none
header  content-type: application/json
header  correlation_id: c7

{
  "id": 7,
  "tags": [
    "a<b"
  ]
}
`)
	letterbox(t, db, "dlq", "show", "2").wants(t, 0, "timer       remind-8\n", "")
	letterbox(t, db, "dlq", "show", "2").wants(t, 0, "\n\nplain text\n", "")
	letterbox(t, db, "dlq", "show", "3").wants(t, 0, "\n\n2 bytes, in base64:\n/wA=\n", "")
	letterbox(t, db, "dlq", "show", "4").wants(t, 0, "\n\nno payload\n", "")
	letterbox(t, db, "dlq", "show", "99").wants(t, 1, "", "no such dead letter")

	one := object[map[string]any](t, letterbox(t, db, "dlq", "show", "1", "--json"))
	is.Equal(one["payload_json"].(map[string]any)["id"], 7.0)
	is.Equal(one["payload_base64"], "eyJpZCI6NywidGFncyI6WyJhPGIiXX0=")
	is.Equal(one["headers"].(map[string]any)["correlation_id"], "c7")
	three := letterbox(t, db, "dlq", "show", "3", "--json")
	is.True(json.Valid([]byte(three.out)))
	_, has := object[map[string]any](t, three)["payload_json"]
	is.True(!has)
}

func TestDeadWork_ChangesNothingWithoutYes(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	for _, verb := range []string{"replay", "purge"} {
		letterbox(t, db, "dlq", verb, "--queue", "orders").wants(t, 0, "orders  rejected              1", "this would "+verb+" 2 dead letters\nnothing was changed: --yes does it")
		letterbox(t, db, "dlq", verb, "--all", "--limit", "3", "--json").wants(t, 0, `{"dry_run":true,"matched":3,`, "nothing was changed")
		letterbox(t, db, "dlq", verb, "--queue", "odrers", "--yes").wants(t, 1, "", `queue "odrers" is empty or not known`)
		letterbox(t, db, "dlq", verb, "--reason", "odd", "--yes").wants(t, 1, "", "no dead letter matches")
	}
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 4)
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 0)
}

func TestDeadReplay(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	execute(t, db, `INSERT INTO outbox (queue, payload, timer_id) VALUES ('orders', '', 'remind-8')`) // so that letter 2 cannot go
	is.Equal(letterbox(t, db, "dlq", "replay", "--id", "3", "--to", "repair", "--yes"), result{0, "moved 1 dead letter\n", ""})
	is.Equal(ask[string](t, db, `SELECT queue FROM outbox WHERE payload = '\xff00'`), "repair")

	r := letterbox(t, db, "dlq", "replay", "--all", "--yes", "--batch", "1", "--rate", "1000")
	is.Equal(r.code, 1)
	is.Equal(r.out, "moved 2 dead letters\n")
	is.Equal(r.errs, "stays: dead letter 2: the letter's timer id is live again\n1 dead letter stayed\n")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 1)
	is.Equal(letterbox(t, db, "dlq", "replay", "--all", "--yes", "--json").out, `{"dry_run":false,"matched":1,"moved":0,"skipped":1}`+"\n")
}

func TestDeadPurge(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := failed(t)
	letters(t, db, "many", 25)
	is.Equal(letterbox(t, db, "dlq", "purge", "--older-than", "30d", "--queue", "orders", "--yes"), result{0, "purged 2 dead letters\n", ""})
	is.Equal(letterbox(t, db, "dlq", "purge", "--queue", "many", "--limit", "12", "--batch", "5", "--yes", "--json").out,
		`{"dry_run":false,"matched":12,"purged":12}`+"\n")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 15)
	is.Equal(letterbox(t, db, "dlq", "purge", "--all", "--batch", "4", "--yes").out, "purged 15 dead letters\n")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox_dlq`), 0)
}
