package storetest

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/letterbox-go/letterbox/internal/store"
)

func buryScenarios() []scenario {
	return []scenario{
		{"nothing to bury is fine", buryNothing},
		{"the dead letter is the row, with reason and error", buryMovesRow},
		{"an empty error is null, and so are no headers and no timer id", buryNulls},
		{"only rows that hold their token move", buryOnlyHeld},
		{"a broken table leaves the rows leased, and works once mended", buryBroken},
		{"a broken table holds up nothing else", buryBrokenAlone},
		{"text that no column takes does not keep a row from its grave", buryAnyText},
	}
}

func buryNothing(s *scene) {
	s.publishN("orders", 1)
	s.Equal(s.bury(), []int64{})
	s.Equal(len(s.rows()), 1)
	s.Equal(len(s.deadLetters()), 0)
}

func buryMovesRow(s *scene) {
	headers := []byte(`{"content-type": "application/octet-stream", "correlation_id": "ä"}`)
	payload := allBytes()
	s.publish(store.Draft{Queue: "orders", Payload: payload, Headers: headers, TimerID: "order-1"}, draft("orders", time.Hour))
	s.claimOne("orders")
	s.advance(2 * time.Hour)
	m := s.claim(expired("orders", 1, time.Hour)).Messages[0]
	row := s.row(m.ID)

	s.Equal(s.bury(bury(m, "rejected", "no such order: ☃")), []int64{m.ID})

	s.Equal(len(s.rows()), 1) // the other row stays
	letters := s.deadLetters()
	s.Equal(len(letters), 1)
	d := letters[0]
	s.Equal(d.OriginalID, m.ID)
	s.Equal(d.Queue, "orders")
	s.Equal(d.Payload, payload)
	s.True(sameJSON(d.Headers, headers))
	s.Equal(d.TimerID, "order-1")
	s.Equal(d.Deliveries, int64(2))
	s.True(d.CreatedAt.Equal(row.CreatedAt))
	s.about(d.Now.Sub(d.FailedAt), 0)
	s.Equal(d.Reason, "rejected")
	s.True(d.Error != nil)
	s.Equal(*d.Error, "no such order: ☃")
}

func buryNulls(s *scene) {
	_, err := s.h.Insert(s.ctx, "orders", []byte("payload"), nil)
	s.NoErr(err)
	m := s.claimOne("orders")

	s.Equal(s.bury(bury(m, "rejected", "")), []int64{m.ID})

	letters := s.deadLetters()
	s.Equal(len(letters), 1)
	s.True(letters[0].Error == nil)
	s.True(letters[0].Headers == nil)
	s.Equal(letters[0].TimerID, "")
}

func buryOnlyHeld(s *scene) {
	s.publishN("orders", 3)
	ms := s.claimUpTo("orders", 3)
	s.Equal(len(ms), 3)
	late := ms[0]
	late.Token = uuid.New()

	got := s.bury(bury(late, "rejected", "a"), bury(ms[1], "undecodable", "b"), bury(ms[2], "exhausted", "c"))

	s.Equal(got, sorted(idsOf(ms[1:])))
	rows := s.rows()
	s.Equal(len(rows), 1)
	s.Equal(rows[0].Lease, ms[0].Lease)
	reasons := make(map[int64]string)
	for _, d := range s.deadLetters() {
		reasons[d.OriginalID] = d.Reason + " " + *d.Error
	}
	s.Equal(reasons, map[int64]string{ms[1].ID: "undecodable b", ms[2].ID: "exhausted c"}) // each its own
}

func buryBroken(s *scene) {
	s.publishN("orders", 2)
	ms := s.claimUpTo("orders", 2)
	s.bury(bury(ms[0], "rejected", "before"))
	before := s.rows()
	s.NoErr(s.h.BreakDeadLetters(s.ctx))

	ids, _, err := s.store.Bury(s.ctx, []store.Outcome{bury(ms[1], "rejected", "now")})
	s.True(err != nil)
	s.Equal(len(ids), 0)
	rows := s.rows()
	s.Equal(len(rows), 1) // still there
	s.Equal(rows[0].Lease, before[0].Lease)
	s.True(rows[0].ClaimedAt.Equal(before[0].ClaimedAt))

	s.NoErr(s.h.MendDeadLetters(s.ctx))
	s.Equal(s.bury(bury(ms[1], "rejected", "later")), []int64{ms[1].ID})
	s.Equal(len(s.rows()), 0)
	s.Equal(len(s.deadLetters()), 2)
}

func buryBrokenAlone(s *scene) {
	s.publishN("orders", 3)
	ms := s.claimUpTo("orders", 2)
	s.NoErr(s.h.BreakDeadLetters(s.ctx))

	_, _, err := s.store.Bury(s.ctx, []store.Outcome{bury(ms[0], "rejected", "")})
	s.True(err != nil)

	s.Equal(s.extend(ms[0].Lease), []int64{ms[0].ID})
	ex := s.exchange([]store.Outcome{ack(ms[1])}, pending("orders", 10))
	s.Equal(ex.Settled, []int64{ms[1].ID})
	s.Equal(len(ex.Batches[0].Messages), 1)
}

// buryAnyText: a reason is a handler's words, and an error text can quote the
// very bytes that broke it. PostgreSQL's text takes neither NUL nor broken
// UTF-8, and the reason's column holds 64 characters. A row that cannot be
// buried for that would come back for ever.
func buryAnyText(s *scene) {
	s.publishN("orders", 1)
	m := s.claimOne("orders")

	s.Equal(s.bury(bury(m, strings.Repeat("ä", 100), "bad byte \xff and \x00 here")), []int64{m.ID})

	letters := s.deadLetters()
	s.Equal(len(letters), 1)
	d := letters[0]
	s.True(strings.HasPrefix(d.Reason, strings.Repeat("ä", 32))) // what fits of it
	s.True(utf8.RuneCountInString(d.Reason) <= 64)
	s.True(utf8.ValidString(d.Reason))
	s.True(d.Error != nil)
	s.True(utf8.ValidString(*d.Error) && !strings.ContainsRune(*d.Error, 0))
	s.True(strings.HasPrefix(*d.Error, "bad byte "))
	s.True(strings.HasSuffix(*d.Error, " here"))
}

// allBytes is every byte, so that nothing textual can pass it on unharmed.
func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
