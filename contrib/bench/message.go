package main

import (
	"encoding/json"
	"fmt"
)

// order is the message that every system carries: about 100 bytes of JSON. Its number says which one it is, so that the
// audit can tell whether each was handled once.
type order struct {
	Number   int    `json:"number"`
	Customer string `json:"customer"`
	Note     string `json:"note"`
}

func newOrder(number int) order {
	return order{
		Number:   number,
		Customer: fmt.Sprintf("customer-%04d", number%10_000),
		Note:     "two of the large ones, please, in blue",
	}
}

// payload is a message in bytes, for systems that take those.
func payload(number int) []byte {
	b, err := json.Marshal(newOrder(number))
	if err != nil {
		panic(err) // a struct of an int and two strings always encodes
	}
	return b
}

// span is the messages with the numbers from first up to, but without, end.
type span struct{ first, end int }

func (s span) len() int { return s.end - s.first }

// cut divides the span into pieces of at most size.
func (s span) cut(size int) []span {
	var pieces []span
	for at := s.first; at < s.end; at += size {
		pieces = append(pieces, span{at, min(at+size, s.end)})
	}
	return pieces
}
