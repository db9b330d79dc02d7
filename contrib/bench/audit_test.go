package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		handled    []int
		left, lost int
		want       string // in the error; empty: none
	}{
		{"each once", []int{0, 2, 1}, 0, 0, ""},
		{"one is missing", []int{0, 2}, 0, 0, "1 of 3 messages were never handled"},
		{"one comes twice", []int{0, 1, 2, 1}, 0, 0, "1 of 3 messages were handled again, and only 0 lost leases"},
		{"one comes twice, and a lost lease explains it", []int{0, 1, 2, 1}, 0, 1, ""},
		{"one that nobody published", []int{0, 1, 2, 3}, 0, 0, "1 of 3 messages were never published"},
		{"one below zero", []int{0, 1, 2, -1}, 0, 0, "never published"},
		{"one stays in the queue", []int{0, 1, 2}, 1, 0, "1 of 3 messages are still in the queue"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			a := newAudit(3)
			for _, n := range tt.handled {
				a.handle(n)
			}
			err := a.close(tt.left, tt.lost).err()
			if tt.want == "" {
				is.NoErr(err)
				return
			}
			is.True(err != nil && strings.Contains(err.Error(), tt.want))
		})
	}
}

func TestAudit_WaitsForTheLast(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	a := newAudit(2)
	a.handle(1)
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	is.True(errors.Is(a.wait(ctx), ended))
	a.handle(0)
	is.NoErr(a.wait(t.Context()))
}

func TestAudit_LearnsLaterHowManyThereAre(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	a := newOpenAudit(100)
	a.handle(0)
	a.handle(1)
	a.expect(2)
	is.NoErr(a.wait(t.Context()))
	is.NoErr(a.close(0, 0).err())
}

func TestAudit_OfNothingIsDone(t *testing.T) {
	t.Parallel()
	is.New(t).NoErr(newAudit(0).wait(t.Context()))
}
