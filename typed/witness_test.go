package typed_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// marker is in payloads, headers and passwords, and may be in no log line and in no
// error.
const marker = "Xq7Zw"

// leaks says what of the marker is in a text: PostgreSQL shows bytes in hex.
func leaks(text string) bool {
	return strings.Contains(text, marker) || strings.Contains(text, hex.EncodeToString([]byte(marker)))
}

// chain is what reports of an error show: its text, and the texts of all that it
// unwraps to.
func chain(err error) string {
	text := fmt.Sprintf("%v\n%+v\n", err, err)
	switch x := err.(type) {
	case interface{ Unwrap() error }:
		if next := x.Unwrap(); next != nil {
			text += chain(next)
		}
	case interface{ Unwrap() []error }:
		for _, next := range x.Unwrap() {
			text += chain(next)
		}
	}
	return text
}

// discreet wants an error that shows nothing of the marker.
func discreet(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Error("there is no error")
	case leaks(chain(err)):
		t.Errorf("the error shows what it should not:\n%s", chain(err))
	}
}

// witness keeps every line of a log, as text, as JSON, and with the chains of its
// errors.
type witness struct {
	mu    sync.Mutex
	lines bytes.Buffer
	more  chan struct{} // closed by the next line
}

func (w *witness) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
	return w.lines.Write(line)
}

// logger hears everything.
func (w *witness) logger() *slog.Logger {
	all := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(w, all), slog.NewJSONHandler(w, all), &chains{w: w}))
}

// await waits until the log has all of the texts.
func (w *witness) await(t *testing.T, texts ...string) {
	t.Helper()
	late := time.After(patience)
	for {
		w.mu.Lock()
		said := w.lines.String()
		missing := ""
		for _, text := range texts {
			if !strings.Contains(said, text) {
				missing = text
			}
		}
		w.more = make(chan struct{})
		more := w.more
		w.mu.Unlock()
		if missing == "" {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("nobody said %q, but\n%s", missing, said)
		}
	}
}

// check wants a log without the marker.
func (w *witness) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lines.Len() == 0 {
		t.Error("nothing was logged")
	}
	for line := range strings.Lines(w.lines.String()) {
		if leaks(line) {
			t.Errorf("the log shows what it should not: %s", line)
		}
	}
}

// chains writes the chain of each error among the attributes of a record.
type chains struct {
	w     *witness
	attrs []slog.Attr
}

func (c *chains) Enabled(context.Context, slog.Level) bool { return true }
func (c *chains) WithGroup(string) slog.Handler            { return c }
func (c *chains) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &chains{c.w, append(c.attrs[:len(c.attrs):len(c.attrs)], attrs...)}
}

func (c *chains) Handle(_ context.Context, r slog.Record) error {
	attrs := c.attrs[:len(c.attrs):len(c.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, a)
		return true
	})
	for _, a := range attrs {
		if err, ok := a.Value.Any().(error); ok {
			if _, err := c.w.Write([]byte(chain(err))); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestWitness_SeesWhatLeaks(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]func(*slog.Logger){
		"message":   func(l *slog.Logger) { l.Debug(marker) },
		"attribute": func(l *slog.Logger) { l.Info("", "a", marker) },
		"context":   func(l *slog.Logger) { l.With("a", marker).Info("") },
		"bytes":     func(l *slog.Logger) { l.Info("", "a", hex.EncodeToString([]byte(marker))) },
		"error":     func(l *slog.Logger) { l.Info("", "error", errors.New(marker)) },
		"chain":     func(l *slog.Logger) { l.Info("", "error", hiding{errors.New(marker)}) },
	} {
		t.Run(name, func(t *testing.T) {
			w := &witness{}
			log(w.logger())
			if !leaks(w.lines.String()) {
				t.Error("it was not seen")
			}
		})
	}
}

// hiding is an error whose own text is discreet.
type hiding struct{ error }

func (hiding) Error() string   { return "hidden" }
func (h hiding) Unwrap() error { return h.error }
