package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// tolerances say how far a counter may pass its baseline: a share of it, and an amount for those that are small. What
// depends on how messages happen to fall into batches may pass it by much, what is arithmetic not at all.
var tolerances = map[string]struct{ share, plus float64 }{
	"statements":    {0.5, 0.005},
	"round trips":   {0.5, 0.005},
	"buffers":       {0.25, 0.5},
	"rows inserted": {0.01, 0},
	"rows updated":  {0.01, 0},
	"rows deleted":  {0.01, 0},
	"dead rows":     {0.01, 0},
	"wal bytes":     {0.1, 5},
	"wal records":   {0.1, 0.1},
}

// baseline is the counters that are committed, in testdata/baseline.json.
type baseline struct {
	Server   string    `json:"server"`
	Counters []counted `json:"counters"`
}

func readBaseline(file string) (b baseline, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("read %s: %w", file, err)
	}
	return b, nil
}

// drift is a counter that is not what it was.
type drift struct {
	what      string
	was, is   float64
	regressed bool // else it is better than it was, by more than the tolerance
}

func (d drift) String() string {
	word := "better than the baseline"
	if d.regressed {
		word = "worse than the baseline"
	}
	return fmt.Sprintf("%s per message: %.4g, was %.4g: %s", d.what, d.is, d.was, word)
}

// drifted compares counters of the library with their baseline; those of the floors are there for the reader. What is
// missing on either side is not compared, but a case that is missing altogether is an error.
func drifted(was, is []counted) (out []drift, err error) {
	for _, old := range was {
		if old.System != library {
			continue
		}
		now, ok := find(is, old.Case, old.System)
		if !ok {
			return nil, fmt.Errorf("nothing was counted for %s with %s", old.Case, old.System)
		}
		for _, name := range sorted(tolerances) {
			before, had := old.PerMessage[name]
			value, has := now.PerMessage[name]
			if !had || !has {
				continue
			}
			d := drift{what: old.Case + ", " + name, was: before, is: value}
			slack := before*tolerances[name].share + tolerances[name].plus
			switch {
			case value > before+slack:
				d.regressed = true
				out = append(out, d)
			case value < before-slack:
				out = append(out, d)
			}
		}
	}
	return out, nil
}
