package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/letterbox-go/letterbox/dlq"
)

func newDeadShow(t *tool) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show LETTER",
		Short: "Show one dead letter, with its payload",
		Long: `show shows one dead letter: what it was, why it failed, its headers and its payload. LETTER is the letter's own id, which 'letterbox dlq
list' gives. A payload that is JSON is indented, other text is shown as it is, and other bytes in base64.`,
		Example: `  letterbox dlq show 17
  letterbox dlq show 17 --json`,
		Args: args("LETTER"),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return usagef("%q is no id of a letter", args[0])
			}
			return t.look(c.Context(), func(ctx context.Context, pool *pgxpool.Pool) error {
				l, err := dlq.In(t.outbox).Get(ctx, pool, id)
				switch {
				case err != nil:
					return err
				case asJSON:
					return t.json().print(newWholeLetter(l))
				}
				t.showLetter(l)
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (t *tool) showLetter(l dlq.Letter) {
	t.fields([][2]string{
		{"letter", count(l.ID)},
		{"queue", shown(l.Queue, 0)},
		{"message", count(l.OriginalID)},
		{"timer", shown(l.TimerID, 0)},
		{"published", clock(l.CreatedAt)},
		{"failed", clock(l.FailedAt)},
		{"deliveries", count(l.Deliveries)},
		{"reason", shown(l.Reason, 0)},
		{"error", shownLines(l.Error)},
	})
	t.showContent(l.Headers(), l.Payload)
}

// fields prints names and values, but those that are empty.
func (t *tool) fields(all [][2]string) {
	width := 0
	for _, f := range all {
		if f[1] != "" {
			width = max(width, len(f[0]))
		}
	}
	for _, f := range all {
		if f[1] != "" {
			t.line("%-*s  %s", width, f[0], strings.ReplaceAll(f[1], "\n", "\n"+strings.Repeat(" ", width+2)))
		}
	}
}

// showContent prints headers and payload.
func (t *tool) showContent(headers map[string]string, payload []byte) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		t.line("header  %s: %s", shown(name, 0), shown(headers[name], 0))
	}
	var indented strings.Builder
	switch {
	case len(payload) == 0:
		t.line("\nno payload")
	case json.Valid(payload):
		e := json.NewEncoder(&indented)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(json.RawMessage(payload)); err == nil {
			payload = []byte(strings.TrimSuffix(indented.String(), "\n"))
		}
		t.line("\n%s", shownLines(string(payload)))
	case utf8.Valid(payload) && !slices.Contains(payload, 0):
		t.line("\n%s", shownLines(string(payload)))
	default:
		t.line("\n%d bytes, in base64:\n%s", len(payload), base64.StdEncoding.EncodeToString(payload))
	}
}

// shownLines is shown for text that may have lines.
func shownLines(text string) string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, shown(strings.TrimRight(line, "\r\n"), 0))
	}
	return strings.Join(all, "\n")
}

// letter is a dead letter in JSON, without its payload.
type letter struct {
	ID            int64      `json:"id"`
	OriginalID    int64      `json:"original_id"`
	Queue         string     `json:"queue"`
	TimerID       string     `json:"timer_id"`
	Deliveries    int64      `json:"deliveries"`
	CreatedAt     *time.Time `json:"created_at"`
	FailedAt      *time.Time `json:"failed_at"`
	Reason        string     `json:"reason"`
	Error         string     `json:"error"`
	ContentType   string     `json:"content_type"`
	CorrelationID string     `json:"correlation_id"`
}

func newLetter(l dlq.Letter) letter {
	return letter{
		ID: l.ID, OriginalID: l.OriginalID, Queue: l.Queue, TimerID: l.TimerID, Deliveries: l.Deliveries, CreatedAt: moment(l.CreatedAt),
		FailedAt: moment(l.FailedAt), Reason: l.Reason, Error: l.Error, ContentType: l.ContentType(), CorrelationID: l.CorrelationID(),
	}
}

// content is headers and payload in JSON: the payload is there as it is where it is JSON, and in base64 in any case.
type content struct {
	Headers map[string]string `json:"headers"`
	Payload []byte            `json:"payload_base64"`
	JSON    json.RawMessage   `json:"payload_json,omitempty"`
}

func newContent(headers map[string]string, payload []byte) content {
	c := content{Headers: headers, Payload: append([]byte{}, payload...)}
	if json.Valid(payload) {
		c.JSON = payload
	}
	return c
}

type wholeLetter struct {
	letter
	content
}

func newWholeLetter(l dlq.Letter) wholeLetter {
	return wholeLetter{newLetter(l), newContent(l.Headers(), l.Payload)}
}
