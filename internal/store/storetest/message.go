package storetest

import (
	"time"

	"github.com/letterbox-go/letterbox/internal/store"
)

func messageScenarios() []scenario {
	return []scenario{
		{"a message comes out as it went in", messageIntact},
		{"an empty payload comes out empty", messageEmpty},
		{"a message due at an instant is due then", messageAt},
		{"an instant in the past is due at once", messageInThePast},
		{"null headers come out as nil", headersNull},
		{"headers need not be an object", headersNoObject},
		{"what a caller does to its bytes changes no row", messageIsACopy},
	}
}

func messageIntact(s *scene) {
	d := store.Draft{
		Queue:   "orders.placed – ünïcode",
		Payload: allBytes(),
		Headers: []byte(`{"correlation_id": "ä \" \\ ☃", "content-type": "application/json"}`),
		TimerID: "order/1 'quoted' \"twice\"",
	}
	ids := s.publish(d)

	m := s.claimOne(d.Queue)

	s.Equal(m.ID, ids[0])
	s.Equal(m.Queue, d.Queue)
	s.Equal(m.Payload, d.Payload)
	s.True(sameJSON(m.Headers, d.Headers))
	s.Equal(m.TimerID, d.TimerID)
	s.about(m.DueAt.Sub(m.CreatedAt), 0)
	s.about(m.ClaimedAt.Sub(m.CreatedAt), 0)
	s.True(!m.ClaimedAt.Before(m.DueAt))
}

func messageEmpty(s *scene) {
	s.publish(store.Draft{Queue: "orders", Payload: []byte{}, Headers: []byte(`{}`)})

	m := s.claimOne("orders")

	s.Equal(len(m.Payload), 0)
	s.True(sameJSON(m.Headers, []byte(`{}`)))
	s.Equal(m.TimerID, "")
}

func messageAt(s *scene) {
	at := s.publishedAt("orders").Add(time.Hour)
	// A delay beside an instant means nothing.
	ids := s.publish(store.Draft{Queue: "orders", At: at, Delay: time.Hour})

	row := s.row(ids[0])

	s.True(row.DueAt.Equal(at))
	s.dueIn(row, time.Hour)
}

func messageInThePast(s *scene) {
	at := s.publishedAt("orders").Add(-24 * time.Hour)
	ids := s.publish(store.Draft{Queue: "orders", At: at})

	m := s.claimOne("orders")

	s.Equal(m.ID, ids[0])
	s.True(m.DueAt.Equal(at))
}

func headersNull(s *scene) {
	id, err := s.h.Insert(s.ctx, "orders", []byte("payload"), nil)
	s.NoErr(err)

	m := s.claimOne("orders")

	s.Equal(m.ID, id)
	s.True(m.Headers == nil)
	s.Equal(string(m.Payload), "payload")
}

func headersNoObject(s *scene) {
	for _, headers := range []string{`null`, `[1, "two"]`, `"text"`, `7`, `{"nested": {"a": [true, null]}, "n": 1}`} {
		id, err := s.h.Insert(s.ctx, "orders", []byte("payload"), []byte(headers))
		s.NoErr(err)

		m := s.claimOne("orders")

		s.Equal(m.ID, id)
		s.True(sameJSON(m.Headers, []byte(headers))) // as JSON text, whatever it is
		s.Equal(s.bury(bury(m, "undecodable", "headers")), []int64{id})
		letters := s.deadLetters()
		s.True(sameJSON(letters[len(letters)-1].Headers, []byte(headers)))
	}
}

func messageIsACopy(s *scene) {
	payload, headers := []byte("payload"), []byte(`{"a": "b"}`)
	s.publish(store.Draft{Queue: "orders", Payload: payload, Headers: headers})
	clear(payload)
	clear(headers)

	m := s.claimOne("orders")
	s.Equal(string(m.Payload), "payload")
	s.True(sameJSON(m.Headers, []byte(`{"a": "b"}`)))
	clear(m.Payload)
	clear(m.Headers)

	s.settle(release(m, 0))
	m = s.claimOne("orders")
	s.Equal(string(m.Payload), "payload")
	s.True(sameJSON(m.Headers, []byte(`{"a": "b"}`)))
}
