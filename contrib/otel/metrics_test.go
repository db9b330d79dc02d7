package otel_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/queue/retry"
)

func TestREADME_ListsEveryMetricWithItsUnit(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	text, err := os.ReadFile("README.md")
	is.NoErr(err)
	l := newLab(t)
	tell := l.Observer()
	tell.LeaseLost(queue.LeaseLost{Queue: "orders"})
	tell.DrainTimedOut(queue.DrainTimedOut{})
	tell.Dropped(queue.Dropped{Events: 1})
	tell.Listening(queue.Listening{Outbox: "outbox", Up: true})
	_, err = orders.Publish(l.Publishing(t.Context()), queue.Autocommit(l.pool), []byte("1"))
	is.NoErr(err)
	stop := l.start(orders.Handle(func(context.Context, *queue.Delivery) error { return queue.Permanent(errors.New("never")) }))
	l.untilEmpty()
	stop()
	units := l.units()
	is.Equal(len(units), strings.Count(string(text), "\n| `messaging.client.")+strings.Count(string(text), "\n| `messaging.process.")+
		strings.Count(string(text), "\n| `letterbox.")-1) // one is of attributes
	for name, unit := range units {
		if !regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(name) + "` \\| [a-z-]+( counter)? \\| `" + regexp.QuoteMeta(unit) + "` \\|").Match(text) {
			t.Errorf("README.md does not list %s in %s", name, unit)
		}
	}
}

func TestMetrics_CountARun(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	ctx := l.Publishing(t.Context())
	for _, payload := range []string{"fine", "fails once", "fails for good"} {
		_, err := orders.Publish(ctx, queue.Autocommit(l.pool), []byte(payload))
		is.NoErr(err)
	}
	_, err := orders.Publish(ctx, nil, []byte("nowhere"))
	is.True(errors.Is(err, queue.ErrNoTransaction))
	stop := l.start(orders.Handle(func(_ context.Context, d *queue.Delivery) error {
		switch {
		case string(d.Payload) == "fails once" && d.Attempt == 1:
			return errors.New("not yet")
		case string(d.Payload) == "fails for good":
			return queue.Permanent(errors.New("never"))
		}
		return nil
	}, queue.Retry(retry.Constant{Delay: time.Millisecond, MaxAttempts: 3})))
	l.untilEmpty()
	stop()
	got := l.sums()
	const at, send, process = "messaging.destination.name=orders,", "messaging.operation.name=send,", "messaging.operation.name=process,"
	for name, want := range map[string]float64{
		"messaging.client.sent.messages " + at + send + "messaging.system=letterbox":                                                                   3,
		"messaging.client.sent.messages error.type=*errors.errorString," + at + send + "messaging.system=letterbox":                                    1,
		"messaging.client.operation.duration " + at + send + "messaging.operation.type=send,messaging.system=letterbox":                                3,
		"messaging.client.operation.duration error.type=*errors.errorString," + at + send + "messaging.operation.type=send,messaging.system=letterbox": 1,
		"messaging.client.consumed.messages " + at + process + "messaging.system=letterbox":                                                            4,
		"messaging.process.duration " + at + process + "messaging.system=letterbox":                                                                    2,
		"messaging.process.duration error.type=retried," + at + process + "messaging.system=letterbox":                                                 1,
		"messaging.process.duration error.type=terminal," + at + process + "messaging.system=letterbox":                                                1,
		"letterbox.handled.messages letterbox.outcome=acked,messaging.destination.name=orders":                                                         2,
		"letterbox.handled.messages letterbox.outcome=retried,messaging.destination.name=orders":                                                       1,
		"letterbox.handled.messages letterbox.outcome=terminal,letterbox.reason=retry_terminal,messaging.destination.name=orders":                      1,
		"letterbox.dead_letters letterbox.reason=retry_terminal,messaging.destination.name=orders":                                                     1,
		"letterbox.queue.lag messaging.destination.name=orders":                                                                                        4,
		"letterbox.messages.in_progress messaging.destination.name=orders":                                                                             0,
	} {
		n, there := got[name]
		if !there || n != want {
			t.Errorf("%s is %v (there: %v), want %v", name, n, there, want)
		}
	}
	_, there := got[`letterbox.listening letterbox.outbox="outbox"`]
	is.True(!there) // the worker has ended
	for _, operation := range []string{"receive", "settle"} {
		is.True(got["messaging.client.operation.duration "+at+"messaging.operation.name="+operation+",messaging.operation.type="+operation+",messaging.system=letterbox"] > 0)
	}
	if t.Failed() {
		for name, n := range got {
			t.Log(name, n)
		}
	}
}

func TestListening_IsThatOfTheWorstWorkerOfAnOutbox(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	l := newLab(t)
	a, b := l.Observer(), l.Observer()
	const x, y = "letterbox.listening letterbox.outbox=x", "letterbox.listening letterbox.outbox=y"
	for _, step := range []struct {
		worker queue.Observer
		event  queue.Listening
		want   map[string]float64
	}{
		{a, queue.Listening{Outbox: "x"}, map[string]float64{x: 0}},
		{b, queue.Listening{Outbox: "x", Up: true}, map[string]float64{x: 0}}, // one that can does not hide one that cannot
		{a, queue.Listening{Outbox: "x", Up: true}, map[string]float64{x: 1}},
		{a, queue.Listening{Outbox: "y"}, map[string]float64{x: 1, y: 0}},
		{a, queue.Listening{Outbox: "y", Ended: true}, map[string]float64{x: 1}},
		{a, queue.Listening{Outbox: "x"}, map[string]float64{x: 0}},
		{a, queue.Listening{Outbox: "x", Ended: true}, map[string]float64{x: 1}}, // one that has ended does not count
		{b, queue.Listening{Outbox: "x", Ended: true}, map[string]float64{}},
		{b, queue.Listening{Outbox: "x", Up: true}, map[string]float64{x: 1}}, // it runs again
	} {
		step.worker.Listening(step.event)
		got := l.sums()
		is.Equal(got, step.want)
	}
}
