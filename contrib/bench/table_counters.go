package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// writeCounters writes counters as the JSON of a baseline, or as a table with a row for each case and system.
func writeCounters(w io.Writer, b baseline, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(b)
	}
	t := &table{head: []string{"per message", "system"}, right: []bool{false, false}}
	for _, c := range b.Counters {
		for _, name := range sorted(c.PerMessage) {
			if !slices.Contains(t.head, name) {
				t.head, t.right = append(t.head, name), append(t.right, true)
			}
		}
	}
	for _, c := range b.Counters {
		row := []string{c.Case, c.System}
		for _, name := range t.head[2:] {
			value := ""
			if v, ok := c.PerMessage[name]; ok {
				value = fmt.Sprintf("%.4g", v)
			}
			row = append(row, value)
		}
		t.row(row...)
	}
	if err := t.write(w); err != nil {
		return err
	}
	return writeGoals(w, countedGoals(b.Counters))
}

// countedGoals are the goals that counters say something about. One counting is enough.
func countedGoals(all []counted) (out []outcome) {
	one := func(g goal, what string, got float64) {
		v := verdict{g, summarize([]float64{got})}
		out = append(out, outcome{fmt.Sprintf("%s: at most %s", what, number(g.limit)), v.got, v.reached()})
	}
	for _, c := range all {
		if c.System != library {
			continue
		}
		for _, f := range all {
			if f.Case == c.Case && f.System != library {
				one(goal{limit: 1.1, atMost: true}, fmt.Sprintf("%s, wal bytes / those of %s", c.Case, f.System),
					c.PerMessage["wal bytes"]/f.PerMessage["wal bytes"])
			}
		}
	}
	if c, ok := find(all, "drain, batches of 100", library); ok {
		one(goal{limit: 0.02, atMost: true}, c.Case+", round trips per message", c.PerMessage["round trips"])
	}
	return out
}
