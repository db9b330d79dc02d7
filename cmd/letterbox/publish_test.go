package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/queuetest"
)

func TestPublish_OneMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	file := filepath.Join(t.TempDir(), "payload")
	is.NoErr(os.WriteFile(file, []byte{0, 1, 2}, 0o600))

	is.Equal(letterbox(t, db, "publish", "q", "--data", `{"id":7}`).out, "1\n")
	is.Equal(fed(t, db, strings.NewReader(" {\"id\":8}\n"), "publish", "q", "--header", "a=b=c", "--header", "d=",
		"--correlation-id", "story", "--delay", "2d", "--json").out, `{"queue":"q","published":1,"ids":[2]}`+"\n")
	is.Equal(letterbox(t, db, "publish", "q", "--file", file, "--content-type", "").out, "3\n")

	all := queuetest.Messages(t, db.Pool, queue.New("q"))
	is.Equal(len(all), 3)
	is.Equal(string(all[0].Payload), `{"id":7}`)
	is.Equal(all[0].Headers["content-type"], "application/json")
	is.True(all[0].Headers["correlation_id"] != "")
	is.Equal(string(all[1].Payload), `{"id":8}`)
	is.Equal(all[1].Headers, map[string]string{"content-type": "application/json", "correlation_id": "story", "a": "b=c", "d": ""})
	is.Equal(all[1].Delay().Hours(), 48.0)
	is.Equal(all[2].Payload, []byte{0, 1, 2})
	is.Equal(all[2].Headers["content-type"], "")
}

func TestPublish_RefusesWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	letterbox(t, db, "publish", "q", "--data", `{"secret":`).wants(t, 1, "", "the payload is not JSON, from byte 10 on")
	letterbox(t, db, "publish", "q", "--data", " ").wants(t, 1, "", "the payload is empty, which is not JSON (see --content-type)")
	fed(t, db, strings.NewReader(""), "publish", "q").wants(t, 1, "", "the payload is empty")
	letterbox(t, db, "publish", "q", "--data", "1", "--header", "content-type=x").wants(t, 2, "", "is set by the codec")
	letterbox(t, db, "publish", "q", "--data", "1", "--delay", "-1s").wants(t, 2, "", "it is written 90s, 15m, 12h or 30d")
	letterbox(t, db, "publish", "q", "--data", "1", "--delay", "4000d").wants(t, 2, "", "invalid delay: 96000h0m0s, it may be 0 to 87600h0m0s")
	letterbox(t, db, "publish", "q", "--file", "/no/such/file").wants(t, 1, "", "no such file")
	fed(t, db, strings.NewReader(`"`+strings.Repeat("x", 1<<20)+`"`), "publish", "q").wants(t, 1, "", "is larger than 1048576 bytes")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 0)
}

func TestPublishLines_AllOrNone(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	const n = 2500
	var good strings.Builder
	for i := range n {
		fmt.Fprintf(&good, "{\"n\":%d}\r\n\n", i)
	}
	fed(t, db, strings.NewReader(good.String()+"{oops}\n"), "publish", "q", "--lines").wants(t, 1, "", "nothing was published: line 5001 is not JSON")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 0)
	fed(t, db, strings.NewReader("\n \n"), "publish", "q", "--lines").wants(t, 1, "", "there is no line with anything in it")

	r := fed(t, db, strings.NewReader(good.String()+`"the last, without an end"`), "publish", "q", "--lines")
	is.Equal(r, result{0, "published 2501 messages to queue \"q\"\n", ""}) // no bar, for this is no terminal
	is.Equal(ask[int](t, db, `SELECT count(DISTINCT payload) FROM outbox`), n+1)
	is.Equal(ask[string](t, db, `SELECT convert_from(payload, 'UTF8') FROM outbox ORDER BY id LIMIT 1`), `{"n":0}`)
}

func TestPublishLines_CommitsByBatches(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	r := fed(t, db, strings.NewReader("1\n2\n3\n4\n5\noops\n"), "publish", "q", "--lines", "--batch-commit", "2", "--ids")
	r.wants(t, 1, "1\n2\n3\n4\n", "4 messages published before, and committed: line 6 is not JSON")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 4)
	r = fed(t, db, strings.NewReader("1\n2\n3\n4\n"), "publish", "q", "--lines", "--batch-commit", "2", "--json")
	is.Equal(object[struct{ Published int }](t, r).Published, 4)
}

func TestPublishLines_EndsAtInterrupt(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	c := prepare(t, db.DSN, "publish", "q", "--lines", "--batch-commit", "1")
	stdin, err := c.StdinPipe() // a pipe that stays open: the program waits for more
	is.NoErr(err)
	c.begin(t)
	_, err = stdin.Write([]byte("1\n2\n"))
	is.NoErr(err)
	await(t, "two messages", func() bool { return ask[int](t, db, `SELECT count(*) FROM outbox`) == 2 })
	is.NoErr(c.Process.Signal(syscall.SIGINT))
	c.end(t).wants(t, 130, "", "2 messages published before, and committed")
}

func TestPause_AndResume(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	execute(t, db, `INSERT INTO outbox (queue, payload) VALUES ('q', '')`)
	is.Equal(letterbox(t, db, "pause", "q"), result{0, "paused queue \"q\"\n", ""})
	is.Equal(letterbox(t, db, "pause", "q").out, "queue \"q\" was paused already\n")
	is.Equal(letterbox(t, db, "pause", "q", "--json").out, `{"queue":"q","changed":false}`+"\n")
	is.Equal(letterbox(t, db, "resume", "q", "--json").out, `{"queue":"q","changed":true}`+"\n")
	is.Equal(letterbox(t, db, "resume", "q").out, "queue \"q\" was not paused\n")
	letterbox(t, db, "resume", "z").wants(t, 1, "", `queue "z" is empty or not known`)
	letterbox(t, db, "pause", "z").wants(t, 1, "", `queue "z" is empty or not known`)
	letterbox(t, db, "pause", "z", "--json").wants(t, 1, "", "--new pauses it all the same")
	is.Equal(ask[int](t, db, `SELECT count(*) FROM outbox`), 1) // there is no mark
	is.Equal(letterbox(t, db, "pause", "z", "--new"), result{0, "paused queue \"z\"\n", ""})
	is.Equal(letterbox(t, db, "pause", "z").out, "queue \"z\" was paused already\n") // so it is known
	letterbox(t, db, "resume", "z").wants(t, 0, `resumed queue "z"`, "")
	letterbox(t, db, "resume", "z").wants(t, 1, "", "is not paused")
	is.Equal(letterbox(t, db, "pause", "q", "--new"), result{0, "paused queue \"q\"\n", ""})
}

func TestPublish_NotifiesByTheRuleOfTheTable(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	db := made(t)
	conn, err := pgx.Connect(t.Context(), db.DSN)
	is.NoErr(err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), "LISTEN outbox_outbox")
	is.NoErr(err)
	for i, rule := range []string{"never", "sleeping", "always"} { // nobody sleeps here
		letterbox(t, db, "publish", "q"+rule, "--data", "1", "--notify", rule).wants(t, 0, count(int64(i+1)), "")
	}
	n, err := conn.WaitForNotification(t.Context())
	is.NoErr(err)
	is.Equal(n.Payload, "qalways") // the first that came
}
