package main

import (
	"math"
	"slices"
)

// median is the middle of the values, NaN where there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// percentile is the smallest value that at least p percent of the values do not pass, NaN where there are none.
func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	at := int(math.Ceil(p/100*float64(len(s)))) - 1
	return s[min(max(at, 0), len(s)-1)]
}

// summary is what several measurements of one thing amount to.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func summarize(values []float64) summary {
	if len(values) == 0 {
		return summary{Median: math.NaN(), Min: math.NaN(), Max: math.NaN()}
	}
	return summary{Median: median(values), Min: slices.Min(values), Max: slices.Max(values), N: len(values)}
}

// spread is how far the measurements lie apart, as a share of their median. A single one has no spread to speak of.
func (s summary) spread() float64 {
	if s.N < 2 || s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / math.Abs(s.Median)
}

// tooWide is the spread from which measurements say nothing: on a quiet machine runs differ by 15 to 25 %.
const tooWide = 0.3

// noisy says that the measurements are too far apart to conclude from.
func (s summary) noisy() bool { return s.spread() > tooWide }

// ratios divides values pairwise: each round's own, so that what slows down a whole round is in both. Pairs without a
// ratio are left out.
func ratios(values, by []float64) []float64 {
	var out []float64
	for i := range min(len(values), len(by)) {
		if r := values[i] / by[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			out = append(out, r)
		}
	}
	return out
}
