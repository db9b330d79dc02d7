package queue

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"
)

func TestWatcher_DropsWhatASlowObserverHasNoRoomFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var log bytes.Buffer
		release := make(chan struct{})
		var told, dropped int64
		ws := watch([]Observer{{
			Dispatched: func(e Dispatched) {
				<-release
				told += int64(e.Messages)
			},
			Dropped: func(e Dropped) { dropped += e.Events },
		}}, slog.New(slog.NewTextHandler(&log, nil)))
		const all = eventBuffer + 1000
		for range all {
			ws.tell(Dispatched{Messages: 1})
			synctest.Wait()
		}
		for range all { // nobody wants these
			ws.tell(LeaseLost{})
		}
		close(release)
		ws.close()
		is.Equal(told, int64(eventBuffer+1)) // one was under way
		is.Equal(dropped, int64(999))
		is.Equal(strings.Count(log.String(), "too slow"), 1)
	})
}

func TestWatcher_LeavesAnObserverBehindThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		var log bytes.Buffer
		release := make(chan struct{})
		quick := 0
		ws := watch([]Observer{
			{Dispatched: func(Dispatched) { <-release }},
			{Dispatched: func(Dispatched) { quick++ }},
		}, slog.New(slog.NewTextHandler(&log, nil)))
		for range 3 {
			ws.tell(Dispatched{Messages: 1})
		}
		began := time.Now()
		ws.close()
		is.Equal(time.Since(began), observerGrace)
		is.Equal(quick, 3) // the other does not feel it
		is.Equal(strings.Count(log.String(), "left behind"), 1)
		ws.tell(Dispatched{}) // of a handler that was left behind, too
		close(release)        // its goroutine ends now, or synctest fails
	})
}

func TestWatcher_LogsAPanicOncePerFunction(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var log bytes.Buffer
	calls := 0
	ws := watch([]Observer{{
		Dispatched: func(Dispatched) { calls++; panic("oh") },
		Fetched:    func(Fetched) { calls++; panic("no") },
		Settled:    func(Settled) { calls++ },
	}}, slog.New(slog.NewTextHandler(&log, nil)))
	for range 10 {
		ws.tell(Fetched{})
		ws.tell(Dispatched{})
		ws.tell(Settled{})
	}
	ws.close()
	is.Equal(calls, 30)
	is.Equal(strings.Count(log.String(), "an observer panicked"), 2)
}
