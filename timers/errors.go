package timers

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/letterbox-go/letterbox/queue"
)

// Errors of calls, besides those of [queue.Publish]. They come wrapped, and
// nothing has been written then.
var (
	// ErrInvalidID says that a timer's id is empty, longer than 255 characters,
	// or not valid text: not UTF-8, or with a NUL.
	ErrInvalidID = errors.New("invalid timer id")
	// ErrInvalidTime says that a due time is the zero time or beyond the years 1
	// to 9999, or that a timer of a batch has no due time, or two.
	ErrInvalidTime = errors.New("invalid due time")
	// ErrInvalidRecurrence says that a recurrence never fires, or makes no sense.
	ErrInvalidRecurrence = errors.New("invalid recurrence")
	// ErrInvalid says that an option, a filter or a page holds what cannot be
	// meant.
	ErrInvalid = errors.New("invalid argument")
)

// maxID is the width of the column timer_id, in characters.
const maxID = 255

func checkID(id string) error {
	switch n := utf8.RuneCountInString(id); {
	case n == 0:
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	case n > maxID:
		return fmt.Errorf("%w: it has %d characters, the limit is %d", ErrInvalidID, n, maxID)
	case !validText(id):
		return fmt.Errorf("%w: it is not valid text", ErrInvalidID)
	}
	return nil
}

// validText says that a text column or parameter can hold s.
func validText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func checkAt(at time.Time) error {
	switch y := at.UTC().Year(); {
	case at.IsZero():
		return fmt.Errorf("%w: it is the zero time", ErrInvalidTime)
	case y < 1 || y > 9999:
		return fmt.Errorf("%w: the year %d", ErrInvalidTime, y)
	}
	return nil
}

func checkAfter(after time.Duration) error {
	if after < 0 || after > queue.MaxDelay {
		return fmt.Errorf("%w: %v, it may be 0 to %v", queue.ErrInvalidDelay, after, queue.MaxDelay)
	}
	return nil
}

// failed says what was being done with which timer.
func failed(verb, id, queue string, err error) error {
	return fmt.Errorf("%s timer %.40q of queue %.40q: %w", verb, id, queue, err)
}
