package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/letterbox-go/letterbox/queue"
)

// interruptible is a reader that gives up when ctx ends, though what it reads from does not: a pipe that nobody writes to,
// or a terminal. The program ends then, and the read with it.
type interruptible struct {
	ctx  context.Context
	from io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := r.from.Read(p)
		done <- result{n, err}
	}()
	select {
	case got := <-done:
		return got.n, got.err
	case <-r.ctx.Done():
		return 0, errInterrupted
	}
}

// instant is a flag for a time.
type instant struct{ time.Time }

// String implements pflag.Value.
func (i *instant) String() string {
	if i.IsZero() {
		return ""
	}
	return i.Format(time.RFC3339Nano)
}

// Type implements pflag.Value.
func (i *instant) Type() string { return "time" }

// Set implements pflag.Value.
func (i *instant) Set(text string) error {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			i.Time = at
			return nil
		}
	}
	return errors.New("it is written 2006-01-02, which is midnight in UTC, or 2006-01-02T15:04:05Z, or with a zone such as +02:00")
}

// age is a flag for a duration that may be days.
type age struct{ time.Duration }

// String implements pflag.Value.
func (a *age) String() string {
	if a.Duration == 0 {
		return ""
	}
	return a.Duration.String()
}

// Type implements pflag.Value.
func (a *age) Type() string { return "duration" }

// Set implements pflag.Value.
func (a *age) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		const most = 36500
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > most {
			return fmt.Errorf("days are a whole number up to %d, such as 30d", most)
		}
		a.Duration = time.Duration(n) * 24 * time.Hour
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("it is written 90s, 15m, 12h or 30d")
	}
	a.Duration = d
	return nil
}

// headers reads name=value.
func headers(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	all := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usagef("--header is written name=value, which one is not")
		}
		all[name] = value
	}
	return all, nil
}

// notify is a flag for a rule of notifying.
type notify queue.Notify

// notifyNames are the rules, as queue numbers them.
var notifyNames = []string{"sleeping", "always", "never"}

// String implements pflag.Value.
func (n *notify) String() string { return notifyNames[*n] }

// Type implements pflag.Value.
func (n *notify) Type() string { return "rule" }

// Set implements pflag.Value.
func (n *notify) Set(text string) error {
	at := slices.Index(notifyNames, text)
	if at < 0 {
		return fmt.Errorf("it is one of %s", strings.Join(notifyNames, ", "))
	}
	*n = notify(at)
	return nil
}
