package dlq

import (
	"errors"
	"fmt"
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

// Options, by where they can be given.
type (
	// ReplayAllOption changes [Letters.ReplayAll].
	ReplayAllOption interface{ applyReplayAll(*settings) }
	// ReplayOption changes [Letters.Replay], and [Letters.ReplayAll] too.
	ReplayOption interface {
		ReplayAllOption
		applyReplay(*settings)
	}
	// PurgeOption changes [Letters.Purge].
	PurgeOption interface{ applyPurge(*settings) }
	// RetainOption changes [Letters.Retain].
	RetainOption interface{ applyRetain(*settings) }
	// LimitOption is for replays by filter and for purges.
	LimitOption interface {
		ReplayAllOption
		PurgeOption
	}
	// BatchOption is for all that works in batches.
	BatchOption interface {
		LimitOption
		RetainOption
	}
)

// settings are those of all places.
type settings struct {
	to       string
	fix      func(Letter) (Fixed, error)
	limit    int64 // zero: none
	batch    int
	rate     float64 // zero: none
	progress func(Progress)
	every    time.Duration
	matching Filter
	err      error
}

const (
	defaultBatch = 500
	maxBatch     = 10_000
	// fixBatch is for batches whose payloads come here and go back: at the
	// default limit of 1 MiB each they still fit in memory.
	fixBatch = 50
)

func (s *settings) refuse(format string, args ...any) {
	s.err = errors.Join(s.err, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
}

type option func(*settings)

func (o option) applyReplay(s *settings)    { o(s) }
func (o option) applyReplayAll(s *settings) { o(s) }
func (o option) applyPurge(s *settings)     { o(s) }
func (o option) applyRetain(s *settings)    { o(s) }

// To replays to another queue of the same outbox. Default: the queue that each
// letter comes from. A name that no queue can have is [queue.ErrInvalidName]. The
// last of several holds.
func To(name string) ReplayOption {
	return option(func(s *settings) {
		if err := queue.New(name).Err(); err != nil {
			s.err = errors.Join(s.err, err)
		}
		s.to = name
	})
}

// Fixed is what a letter's message is to hold.
type Fixed struct {
	Payload []byte
	// ContentType is the new content-type header; empty leaves it as it is.
	ContentType string
}

// Fix gives each letter another payload on its way back; all headers but the
// content type are kept. An error, or a panic, which becomes a
// [*queue.PanicError], keeps that letter where it is, and it is reported. So does
// what is too large to be published, with [queue.ErrTooLarge]: the queue's limit
// holds, or, with [In], [queue.DefaultMaxBytes] or the letter's own size. The
// function is called for one letter at a time, on the caller's goroutine, and
// holds no lock: a letter that is gone when it returns is not moved. In
// [Letters.ReplayAll] a batch is 50 letters unless [Batch] says otherwise, for
// the payloads travel. Default: none; nil is refused. The last of several holds.
func Fix(f func(Letter) (Fixed, error)) ReplayOption {
	return option(func(s *settings) {
		if f == nil {
			s.refuse("the fix is nil")
		}
		s.fix = f
	})
}

// Limit ends the work after so many letters: moved ones, for a replay. Default:
// no limit; less than one is refused. The last of several holds.
func Limit(n int64) LimitOption {
	return option(func(s *settings) {
		if n < 1 {
			s.refuse("the limit is %d, it must be at least 1", n)
		}
		s.limit = n
	})
}

// Batch is how many letters a statement moves or removes, at most. Default 500;
// less than one and more than 10,000 are refused. The last of several holds.
func Batch(n int) BatchOption {
	return option(func(s *settings) {
		if n < 1 || n > maxBatch {
			s.refuse("the batch is %d, it may be 1 to %d", n, maxBatch)
		}
		s.batch = n
	})
}

// Rate bounds how many letters are moved in a second, on average from the start,
// so that what failed because something was overloaded does not come back as a
// flood. Batches are as small as that needs. Default: no bound; zero and less are
// refused. The last of several holds.
func Rate(perSecond float64) ReplayAllOption {
	return option(func(s *settings) {
		if !(perSecond > 0) { // NaN neither
			s.refuse("the rate is %v a second, it must be above zero", perSecond)
		}
		s.rate = perSecond
	})
}

// OnProgress calls f after each batch, on the goroutine of the caller. Default,
// and nil: nothing is called. The last of several holds.
func OnProgress(f func(Progress)) ReplayAllOption {
	return option(func(s *settings) { s.progress = f })
}

// Every is how long a retention rests between two rounds, on average. Default an
// hour; zero and less are refused, and above [queue.MaxDelay] is that. The last
// of several holds.
func Every(d time.Duration) RetainOption {
	return option(func(s *settings) {
		if d <= 0 {
			s.refuse("every %v, it must be above zero", d)
		}
		s.every = min(d, queue.MaxDelay)
	})
}

// Matching makes a retention remove only what the filter selects; its OlderThan
// must be zero, for the retention sets it. Default: all. The last of several
// holds.
func Matching(f Filter) RetainOption {
	return option(func(s *settings) {
		if f.OlderThan != 0 {
			s.refuse("a retention with an age of its own")
		}
		s.matching = f
	})
}
