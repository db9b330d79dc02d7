package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// line writes a line for people to standard output.
func (t *tool) line(format string, args ...any) {
	fmt.Fprintf(t.out, format+"\n", args...)
}

// note writes a line to standard error: what happens, beside the output.
func (t *tool) note(format string, args ...any) {
	fmt.Fprintf(t.errs, format+"\n", args...)
}

// table writes rows under their headings, aligned. A heading that begins with > is of a column of numbers.
func table(w io.Writer, headings []string, rows [][]string) error {
	var out bytes.Buffer
	tab := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	widths := make([]int, len(headings))
	for _, row := range append([][]string{headings}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(strings.TrimPrefix(cell, ">")))
		}
	}
	for _, row := range append([][]string{headings}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			cell = strings.TrimPrefix(cell, ">")
			if strings.HasPrefix(headings[i], ">") {
				cell = strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + cell
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteByte('\t')
			}
		}
		fmt.Fprintln(tab, line.String())
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// printer writes objects of JSON, one a line, for programs.
type printer struct{ to *json.Encoder }

func (t *tool) json() printer {
	e := json.NewEncoder(t.out)
	e.SetEscapeHTML(false)
	return printer{e}
}

func (p printer) print(v any) error { return p.to.Encode(v) }

// moment is a time in JSON: null where there is none.
func moment(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return new(at.UTC())
}

// clock is a time for people, in UTC.
func clock(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02 15:04:05Z")
}

// span is a duration for people: two digits that matter are enough.
func span(d time.Duration) string {
	switch abs := d.Abs(); {
	case abs >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), abs%(24*time.Hour)/time.Hour)
	case abs >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case abs >= 10*time.Second:
		return d.Round(time.Second).String()
	case abs >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case abs >= time.Millisecond:
		return d.Round(time.Millisecond / 10).String()
	}
	return d.Round(time.Microsecond).String()
}

// shown is text from the table as a terminal may have it: no control characters, which could move its cursor, and no longer
// than most characters (zero: any length).
func shown(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if most > 0 && utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-3]) + "..."
	}
	return text
}

// Colours, where there are any.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint colours text for standard output.
func (t *tool) paint(colour, text string) string {
	if t.noColor || os.Getenv("NO_COLOR") != "" || !terminal(t.out) {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// plural is "1 message" or "2 messages".
func plural[N int | int64](n N, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
