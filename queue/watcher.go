package queue

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// eventBuffer is how many events wait for an observer: those of a second or
	// so under load, while one that works keeps up.
	eventBuffer = 4096
	// observerGrace is how long the end of a worker waits for observers.
	observerGrace = time.Second
	// complainEvery is how often a slow observer is logged at most.
	complainEvery = time.Minute
)

// watcher tells one observer of events, for one run of a worker.
type watcher struct {
	observer Observer
	log      *slog.Logger
	events   chan event
	stop     chan struct{}
	done     chan struct{}

	dropped    atomic.Int64 // not yet told
	complained atomic.Int64 // when a drop was logged last, in nanoseconds
	abandoned  atomic.Bool

	panicked map[string]bool // by event; the goroutine's
}

// watchers are those of a worker.
type watchers []*watcher

// watch starts telling. The caller must call close.
func watch(observers []Observer, log *slog.Logger) watchers {
	var ws watchers
	for _, o := range observers {
		w := &watcher{
			observer: o, log: log, panicked: map[string]bool{},
			events: make(chan event, eventBuffer), stop: make(chan struct{}), done: make(chan struct{}),
		}
		go w.run() // close waits for it
		ws = append(ws, w)
	}
	return ws
}

// tell hands an event to all who want it. It never blocks.
func (ws watchers) tell(e event) {
	for _, w := range ws {
		if e.wanted(&w.observer) {
			w.put(e)
		}
	}
}

func (w *watcher) put(e event) {
	select {
	case w.events <- e:
		return
	default:
	}
	n := w.dropped.Add(1)
	now, last := time.Now().UnixNano(), w.complained.Load()
	if now-last >= int64(complainEvery) && w.complained.CompareAndSwap(last, now) {
		w.log.Warn("an observer is too slow; events are dropped", slog.String("event", e.name()), slog.Int64("dropped", n))
	}
}

// run tells what comes until it is stopped, and then what is left.
func (w *watcher) run() {
	defer close(w.done)
	for {
		select {
		case e := <-w.events:
			w.hand(e)
			continue
		case <-w.stop:
		}
		for !w.abandoned.Load() {
			select {
			case e := <-w.events:
				w.hand(e)
			default:
				w.handDropped()
				return
			}
		}
		return
	}
}

func (w *watcher) hand(e event) {
	w.handDropped()
	w.call(e)
}

func (w *watcher) handDropped() {
	if w.dropped.Load() == 0 {
		return
	}
	if e := (Dropped{w.dropped.Swap(0)}); e.wanted(&w.observer) {
		w.call(e)
	}
}

// call makes one call of the observer. A panic is its own affair.
func (w *watcher) call(e event) {
	defer func() {
		r := recover()
		if r == nil || w.panicked[e.name()] {
			return
		}
		w.panicked[e.name()] = true
		w.log.Error("an observer panicked; it is logged once, and called again", slog.String("event", e.name()),
			slog.Any("error", &PanicError{Value: r, Stack: debug.Stack()}))
	}()
	e.tell(&w.observer)
}

// close waits, boundedly, until everything is told. Later events are dropped.
func (ws watchers) close() {
	for _, w := range ws {
		close(w.stop)
	}
	ctx, cancel := context.WithTimeout(context.Background(), observerGrace)
	defer cancel()
	for _, w := range ws {
		select {
		case <-w.done:
			continue
		case <-ctx.Done():
		}
		select {
		case <-w.done: // long before
		default:
			w.abandoned.Store(true)
			w.log.Error("an observer does not return and is left behind")
		}
	}
}
