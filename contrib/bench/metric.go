package main

import (
	"fmt"
	"math"
	"strconv"
)

// metric is one number of a result.
type metric struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Less  bool    `json:"less_is_better"`
	Own   bool    `json:"-"` // it says something about this system only: comparing it with another's is of no use
}

// named is the metric's name with its unit.
func named(m metric) string {
	if m.Unit == "" {
		return m.Name
	}
	return m.Name + ", " + m.Unit
}

// rate is messages a second.
func rate(name string, perSecond float64) metric {
	return metric{Name: name, Value: perSecond, Unit: "/s"}
}

// millis is a time in milliseconds, of which less is better.
func millis(name string, ms float64) metric {
	return metric{Name: name, Value: ms, Unit: "ms", Less: true}
}

// share is a ratio within one run.
func share(name string, of float64) metric { return metric{Name: name, Value: of, Own: true} }

// times is a ratio within one run, of which less is better.
func times(name string, of float64) metric {
	return metric{Name: name, Value: of, Less: true, Own: true}
}

// count is a number of things, of which less is better.
func count(name string, n float64) metric { return metric{Name: name, Value: n, Less: true} }

// mebibytes is memory, of which less is better.
func mebibytes(name string, n float64) metric {
	return metric{Name: name, Value: n, Unit: "MiB", Less: true}
}

// number formats a value with about three digits that matter.
func number(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case size >= 100_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case size >= 10_000:
		return fmt.Sprintf("%.1fk", v/1000)
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size > 0 && size < 0.1:
		return strconv.FormatFloat(v, 'g', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
