package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestDrawing_IsWellFormed(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := compared()
	c.Results[0].Series = []series{{"pinned", []float64{1, 2, 3}}}
	svg := drawing([]comparison{c}, "made with < & >")
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		is.NoErr(err)
	}
	text := string(svg)
	is.Equal(strings.Count(text, "<rect x="), 4) // three bars, and the key of the lines
	is.True(strings.Contains(text, "drain: drain, /s (more is better)"))
	is.Equal(strings.Count(text, "<polyline"), 1)
}

func TestWrap(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	is.Equal(wrap("one two three", 8), []string{"one two", "three"})
	is.Equal(wrap("averylongword x", 4), []string{"averylongword", "x"})
}
