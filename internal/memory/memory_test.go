package memory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/internal/memory"
	"github.com/letterbox-go/letterbox/internal/store"
)

func TestClock_FrozenMovesOnlyByAdvance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		start := time.Date(2026, 1, 2, 3, 4, 5, 6_000, time.UTC)
		s := memory.New(memory.Frozen(), memory.StartAt(start))

		time.Sleep(time.Hour) // the bubble's time
		is.Equal(s.Now(), start)

		s.Advance(90 * time.Minute)
		is.Equal(s.Now(), start.Add(90*time.Minute))
		s.Advance(-time.Hour) // never back
		is.Equal(s.Now(), start.Add(90*time.Minute))
	})
}

func TestClock_FlowsByDefaultAndAdvances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		s := memory.New(memory.StartAt(start))

		time.Sleep(time.Hour)
		is.Equal(s.Now(), start.Add(time.Hour))
		s.Advance(24 * time.Hour)
		time.Sleep(time.Minute)
		is.Equal(s.Now(), start.Add(25*time.Hour+time.Minute))

		is.True(memory.New().Now().Equal(time.Now().Truncate(time.Microsecond)))
	})
}

func TestClock_InstantsAreAsATableKeepsThem(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	zone := time.FixedZone("somewhere", 3600)
	s := memory.New(memory.Frozen(), memory.StartAt(time.Date(2026, 1, 2, 3, 4, 5, 123_456_789, zone)))
	want := time.Date(2026, 1, 2, 2, 4, 5, 123_456_000, time.UTC)

	is.Equal(s.Now(), want)
	_, err := s.Publish(t.Context(), store.Draft{Queue: "q", At: time.Date(2026, 1, 2, 4, 0, 0, 999, zone)})
	is.NoErr(err)
	is.Equal(s.Rows()[0].CreatedAt, want)
	is.Equal(s.Rows()[0].DueAt, time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
}

// journal collects what a listener hears.
type journal []string

func (j *journal) listen(queue string) { *j = append(*j, queue) }

// take is what was heard since the last time.
func (j *journal) take() []string {
	heard := slices.Clone(*j)
	*j = nil
	return heard
}

func TestListen_HearsOfEachPublishOncePerQueue(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New(memory.Frozen())
	var heard journal
	s.Listen(heard.listen)

	_, err := s.Publish(t.Context(),
		store.Draft{Queue: "b"}, store.Draft{Queue: "a", Delay: time.Hour}, store.Draft{Queue: "b"})
	is.NoErr(err)
	is.Equal(heard.take(), []string{"b", "a"}) // the future one too: a worker may have slept past it

	_, err = s.Publish(t.Context())
	is.NoErr(err)
	is.Equal(len(heard.take()), 0)
}

func TestListen_HearsOfRowsThatAnAdvanceMadeDue(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New(memory.Frozen())
	_, err := s.Publish(t.Context(),
		store.Draft{Queue: "now"},
		store.Draft{Queue: "hour", Delay: time.Hour},
		store.Draft{Queue: "day", Delay: 24 * time.Hour},
		store.Draft{Queue: "also hour", Delay: time.Hour})
	is.NoErr(err)
	var heard journal
	s.Listen(heard.listen)

	s.Advance(time.Hour - time.Microsecond)
	is.Equal(len(heard.take()), 0) // not yet, and "now" has long been due
	s.Advance(time.Microsecond)
	is.Equal(heard.take(), []string{"also hour", "hour"})
	s.Advance(time.Minute)
	is.Equal(len(heard.take()), 0) // they were due before
	s.Advance(48 * time.Hour)
	is.Equal(heard.take(), []string{"day"})
}

func TestListen_SeesTheChangeAndMayCallTheStore(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New(memory.Frozen())
	var claimed []int64
	s.Listen(func(queue string) {
		ex, err := s.Exchange(context.Background(), nil, []store.Claim{{Queue: queue, Limit: 10, Token: uuid.New()}})
		is.NoErr(err)
		for _, m := range ex.Batches[0].Messages {
			claimed = append(claimed, m.ID)
		}
	})

	now, err := s.Publish(t.Context(), store.Draft{Queue: "q"})
	is.NoErr(err)
	is.Equal(claimed, now)
	later, err := s.Publish(t.Context(), store.Draft{Queue: "q", Delay: time.Hour})
	is.NoErr(err)
	is.Equal(claimed, now)
	s.Advance(time.Hour)
	is.Equal(claimed, append(now, later...))
}

func TestListen_StopEndsOneListenerOnly(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New()
	var first, second journal
	stop := s.Listen(first.listen)
	s.Listen(second.listen)

	stop()
	stop()
	_, err := s.Publish(t.Context(), store.Draft{Queue: "q"})
	is.NoErr(err)

	is.Equal(len(first.take()), 0)
	is.Equal(second.take(), []string{"q"})
}

func TestPublish_IsAllOrNothing(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	live := store.Draft{Queue: "timers", TimerID: "live"}
	tests := []struct {
		name   string
		ctx    context.Context
		drafts []store.Draft
		check  func(is *is.I, err error)
	}{
		{
			name:   "a live timer id",
			ctx:    t.Context(),
			drafts: []store.Draft{{Queue: "q"}, live},
			check: func(is *is.I, err error) {
				var exists *memory.TimerExistsError
				is.True(errors.As(err, &exists))
				is.Equal(*exists, memory.TimerExistsError{Queue: "timers", TimerID: "live"})
			},
		},
		{
			name:   "a timer id twice",
			ctx:    t.Context(),
			drafts: []store.Draft{{Queue: "q", TimerID: "a"}, {Queue: "q", TimerID: "a"}},
			check: func(is *is.I, err error) {
				var exists *memory.TimerExistsError
				is.True(errors.As(err, &exists))
				is.Equal(*exists, memory.TimerExistsError{Queue: "q", TimerID: "a"})
			},
		},
		{
			name:   "headers that are not JSON",
			ctx:    t.Context(),
			drafts: []store.Draft{{Queue: "q"}, {Queue: "q", Headers: []byte("{")}},
			check:  func(is *is.I, err error) { is.True(errors.Is(err, memory.ErrHeaders)) },
		},
		{
			name:   "a cancelled context",
			ctx:    cancelled,
			drafts: []store.Draft{{Queue: "q"}},
			check:  func(is *is.I, err error) { is.True(errors.Is(err, context.Canceled)) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			s := memory.New()
			_, err := s.Publish(t.Context(), live)
			is.NoErr(err)
			var heard journal
			s.Listen(heard.listen)

			ids, err := s.Publish(tt.ctx, tt.drafts...)

			is.Equal(len(ids), 0)
			tt.check(is, err)
			is.Equal(len(s.Rows()), 1)
			is.Equal(len(heard.take()), 0)
		})
	}
}

func TestPublish_TimerIDsAreUniquePerQueue(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New()

	_, err := s.Publish(t.Context(),
		store.Draft{Queue: "a", TimerID: "x"}, store.Draft{Queue: "b", TimerID: "x"}, store.Draft{Queue: "a"}, store.Draft{Queue: "a"})

	is.NoErr(err)
	is.Equal(len(s.Rows()), 4)
}

func TestStore_RefusesKindsThatDoNotBelong(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New()
	_, err := s.Publish(t.Context(), store.Draft{Queue: "q"}, store.Draft{Queue: "q"})
	is.NoErr(err)
	ex, err := s.Exchange(t.Context(), nil, []store.Claim{{Queue: "q", Limit: 2, Token: uuid.New()}})
	is.NoErr(err)
	good, bad := ex.Batches[0].Messages[0].Lease, ex.Batches[0].Messages[1].Lease

	for _, kind := range []store.Kind{0, store.Bury, store.Bury + 1} {
		_, err = s.Exchange(t.Context(), []store.Outcome{{Lease: good, Kind: store.Ack}, {Lease: bad, Kind: kind}}, nil)
		is.True(errors.Is(err, memory.ErrKind))
	}
	_, _, err = s.Bury(t.Context(), []store.Outcome{{Lease: good, Kind: store.Bury}, {Lease: bad, Kind: store.Ack}})
	is.True(errors.Is(err, memory.ErrKind))

	is.Equal(len(s.Rows()), 2) // nothing was written
	is.Equal(len(s.DeadLetters()), 0)
}

func TestSnapshots_AreCopies(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	s := memory.New()
	_, err := s.Publish(t.Context(), store.Draft{Queue: "q", Payload: []byte("payload"), Headers: []byte(`{}`)})
	is.NoErr(err)

	clear(s.Rows()[0].Payload)
	clear(s.Rows()[0].Headers)
	is.Equal(string(s.Rows()[0].Payload), "payload")
	is.Equal(string(s.Rows()[0].Headers), "{}")

	ex, err := s.Exchange(t.Context(), nil, []store.Claim{{Queue: "q", Limit: 1, Token: uuid.New()}})
	is.NoErr(err)
	_, _, err = s.Bury(t.Context(), []store.Outcome{{Lease: ex.Batches[0].Messages[0].Lease, Kind: store.Bury, Error: "e"}})
	is.NoErr(err)
	d := s.DeadLetters()[0]
	clear(d.Payload)
	clear(d.Headers)
	*d.Error = "changed"
	is.Equal(string(s.DeadLetters()[0].Payload), "payload")
	is.Equal(string(s.DeadLetters()[0].Headers), "{}")
	is.Equal(*s.DeadLetters()[0].Error, "e")
}
