package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// chart draws the comparisons to the file that the settings name, and says so.
func (r *report) chart(set settings, progress io.Writer) error {
	if !set.compare || set.chart == "" || len(r.comparison) == 0 {
		return nil
	}
	if err := os.WriteFile(set.chart, drawing(r.comparison, r.circumstances()), 0o644); err != nil {
		return fmt.Errorf("write the chart: %w", err)
	}
	fmt.Fprintln(progress, "chart:", set.chart)
	return nil
}

// Sizes of the drawing, in pixels.
const (
	chartWidth = 860
	margin     = 24
	labelWidth = 110
	barHeight  = 18
	barGap     = 6
	linesHigh  = 180
)

// colours of the systems, the library's first; each is told from its neighbours without seeing red and green.
var colours = []string{"#0072b2", "#999999", "#e69f00", "#56b4e9", "#d55e00", "#cc79a7"}

// canvas is a drawing that grows downwards.
type canvas struct {
	body bytes.Buffer
	y    float64
}

// drawing has a panel for each metric that its scenario wants shown: a bar for each system, with a line from the least to
// the greatest of the rounds. Where rates were taken second by second, there are lines.
func drawing(comparisons []comparison, note string) []byte {
	c := &canvas{y: margin}
	for _, cmp := range comparisons {
		for _, m := range cmp.Metrics {
			if slices.Contains(cmp.Charted, m.Name) {
				c.bars(cmp, m)
			}
		}
		c.lines(cmp)
	}
	for _, line := range wrap(note, 130) {
		c.text(margin, c.y, "note", line)
		c.y += 15
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f">`+"\n",
		chartWidth, c.y+margin, chartWidth, c.y+margin)
	out.WriteString("<style>text{font:13px sans-serif;fill:#222}.title{font-weight:bold}.note,.axis{font-size:11px;fill:#666}</style>\n")
	out.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	c.body.WriteTo(&out) //nolint:errcheck // a buffer takes everything
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// bars draws one metric.
func (c *canvas) bars(cmp comparison, m metric) {
	better := "more is better"
	if m.Less {
		better = "less is better"
	}
	c.title(fmt.Sprintf("%s: %s (%s)", cmp.Scenario, named(m), better))
	most := 0.0
	for _, system := range cmp.Systems {
		if s := cmp.of(m.Name, system); s.N > 0 {
			most = max(most, s.Max)
		}
	}
	const left = margin + labelWidth
	width := func(v float64) float64 { return v / max(most, 1e-9) * (chartWidth - left - margin - 90) }
	for i, system := range cmp.Systems {
		s := cmp.of(m.Name, system)
		if s.N == 0 {
			continue
		}
		mid := c.y + barHeight/2
		c.text(margin, mid+4, "", system)
		c.shape(`<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`, left, c.y, width(s.Median), barHeight, colour(i))
		c.shape(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#222"/>`, left+width(s.Min), left+width(s.Max), mid, mid)
		c.text(left+width(s.Max)+8, mid+4, "", number(s.Median))
		c.y += barHeight + barGap
	}
	c.y += margin
}

// lines draws the series of the first round, where there are any.
func (c *canvas) lines(cmp comparison) {
	for _, name := range seriesNames(cmp) {
		c.title(fmt.Sprintf("%s: %s, messages a second over the seconds of the run", cmp.Scenario, name))
		top, bottom := c.y, c.y+linesHigh
		const left, right = margin + 60, chartWidth - margin - labelWidth
		most, longest := 1.0, 2
		for _, r := range cmp.Results {
			if s, ok := r.series(name); ok && r.Round == 1 {
				most, longest = max(most, slices.Max(s)), max(longest, len(s))
			}
		}
		c.shape(`<path d="M%d %.1f V%.1f H%d" fill="none" stroke="#999"/>`, left, top, bottom, right)
		c.text(margin, top+8, "axis", number(most))
		c.text(margin, bottom, "axis", "0")
		c.text(right-20, bottom+14, "axis", fmt.Sprintf("%d s", longest))
		for i, system := range cmp.Systems {
			for _, r := range cmp.Results {
				s, ok := r.series(name)
				if !ok || r.Round != 1 || r.System != system {
					continue
				}
				var points []string
				for at, v := range s {
					x := left + float64(at)/float64(longest-1)*(right-left)
					points = append(points, fmt.Sprintf("%.1f,%.1f", x, bottom-v/most*linesHigh))
				}
				c.shape(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(points, " "), colour(i))
				legend := top + float64(i*barHeight)
				c.shape(`<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/>`, right+12, legend, colour(i))
				c.text(right+28, legend+10, "", system)
			}
		}
		c.y = bottom + 2*margin
	}
}

func seriesNames(cmp comparison) (names []string) {
	for _, r := range cmp.Results {
		for _, s := range r.Series {
			if !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

// series finds a series that has something in it.
func (r result) series(name string) ([]float64, bool) {
	for _, s := range r.Series {
		if s.Name == name && len(s.Values) > 0 {
			return s.Values, true
		}
	}
	return nil, false
}

func (c *canvas) title(s string) {
	c.text(margin, c.y+4, "title", s)
	c.y += margin
}

func (c *canvas) text(x, y float64, class, s string) {
	c.shape(`<text x="%.1f" y="%.1f" class="%s">%s</text>`, x, y, class, escaped(s))
}

func (c *canvas) shape(format string, args ...any) { fmt.Fprintf(&c.body, format+"\n", args...) }

func colour(i int) string { return colours[i%len(colours)] }

func escaped(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) //nolint:errcheck // a buffer takes everything
	return b.String()
}

// wrap breaks a text into lines of about so many characters.
func wrap(s string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(line)+len(word) >= width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
