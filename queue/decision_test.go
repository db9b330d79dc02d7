package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/letterbox-go/letterbox/queue"
)

func TestIsFailure(t *testing.T) {
	t.Parallel()
	err := errors.New("broken")
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"an error", err, true},
		{"permanent", queue.Permanent(err), true},
		{"retry after", queue.RetryAfter(err, time.Second), true},
		{"undecodable", queue.Undecodable(err), true},
		{"snooze", queue.Snooze(time.Second), false},
		{"snooze, wrapped", fmt.Errorf("closed: %w", queue.Snooze(time.Second)), false},
		{"discard", queue.Discard("a test"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			is.Equal(queue.IsFailure(tt.err), tt.want)
		})
	}
}
