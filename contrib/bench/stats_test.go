package main

import (
	"math"
	"testing"

	"github.com/matryer/is"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 3, 2}, 2.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is.New(t).Equal(median(tt.values), tt.want)
		})
	}
	is.New(t).True(math.IsNaN(median(nil)))
}

func TestMedian_LeavesTheValuesInTheirOrder(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	median(values)
	is.New(t).Equal(values, []float64{3, 1, 2})
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, tt := range []struct {
		name string
		p    float64
		want float64
	}{
		{"the least", 0, 1},
		{"half", 50, 5},
		{"just above half", 50.1, 6},
		{"nearly all", 99, 10},
		{"all", 100, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is.New(t).Equal(percentile(ten, tt.p), tt.want)
		})
	}
	is.New(t).True(math.IsNaN(percentile(nil, 50)))
}

func TestSummary_Noisy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values []float64
		want   bool
	}{
		{"a single one says nothing about noise", []float64{1}, false},
		{"close", []float64{100, 110, 105}, false},
		{"apart", []float64{100, 140, 105}, true},
		{"all zero", []float64{0, 0}, false},
		{"below zero", []float64{-100, -140, -105}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			is.New(t).Equal(summarize(tt.values).noisy(), tt.want)
		})
	}
}

func TestRatios_PairsRounds(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	// The second round was slow for both: the ratios do not show it.
	is.Equal(ratios([]float64{100, 50, 80}, []float64{200, 100, 160}), []float64{0.5, 0.5, 0.5})
	is.Equal(ratios([]float64{1, 2, 3}, []float64{2}), []float64{0.5})
	is.Equal(len(ratios([]float64{1, 0}, []float64{0, 0})), 0)
}
