package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is rows of cells under a head, written as Markdown that also reads well in a terminal.
type table struct {
	head  []string
	rows  [][]string
	right []bool // columns of numbers
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table; rows may be shorter than the head.
func (t *table) write(w io.Writer) error {
	width := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c), 3)
		}
	}
	line := func(row []string) string {
		var b strings.Builder
		for i := range t.head {
			c := ""
			if i < len(row) {
				c = row[i]
			}
			gap := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if t.numbers(i) {
				c = gap + c
			} else {
				c += gap
			}
			b.WriteString("| " + c + " ")
		}
		return b.String() + "|\n"
	}
	rule := ""
	for i, n := range width {
		if t.numbers(i) {
			rule += "| " + strings.Repeat("-", n-1) + ": "
		} else {
			rule += "| " + strings.Repeat("-", n) + " "
		}
	}
	out := line(t.head) + rule + "|\n"
	for _, row := range t.rows {
		out += line(row)
	}
	_, err := io.WriteString(w, out)
	return err
}

func (t *table) numbers(column int) bool { return column < len(t.right) && t.right[column] }

// writeComparison writes what was measured, and then the goals beside it.
func writeComparison(w io.Writer, c comparison) error {
	rounds := fmt.Sprintf("%d rounds, in turn", c.Rounds)
	if c.Rounds == 1 {
		rounds = "1 round"
	}
	if _, err := fmt.Fprintf(w, "\n### %s\n\n%d %s; %s\n\n", c.Scenario, c.N, c.What, rounds); err != nil {
		return err
	}
	if err := measurements(c).write(w); err != nil {
		return err
	}
	return writeGoals(w, outcomes(c))
}

// writeGoals writes goals beside what was reached; nothing where there are none.
func writeGoals(w io.Writer, goals []outcome) error {
	if len(goals) == 0 {
		return nil
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	t := table{head: []string{"goal", "got", "min - max", "reached"}, right: []bool{false, true, true, false}}
	for _, g := range goals {
		t.row(g.Goal, number(g.Got.Median), between(g.Got), g.Reached)
	}
	return t.write(w)
}

// measurements has a row for each metric and system.
func measurements(c comparison) *table {
	t := &table{
		head:  []string{"", "system", "median", "min - max", "spread", c.Systems[0] + " / it", "min - max", ""},
		right: []bool{false, false, true, true, true, true, true, false},
	}
	before := ""
	for _, l := range c.lines() {
		title := named(metric{Name: l.Metric, Unit: l.Unit})
		if title == before {
			title = ""
		} else {
			before = title
		}
		row := []string{title, l.System, number(l.Rounds.Median), between(l.Rounds), percent(l.Rounds), "", "", ""}
		if l.Ratio != nil {
			row[5], row[6] = number(l.Ratio.Median), between(*l.Ratio)
		}
		if l.Noisy {
			row[7] = "too noisy to conclude"
		}
		t.row(row...)
	}
	return t
}

func between(s summary) string {
	if s.N < 2 {
		return ""
	}
	return number(s.Min) + " - " + number(s.Max)
}

func percent(s summary) string {
	if s.N < 2 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*s.spread())
}
