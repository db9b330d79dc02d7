package prometheus

import (
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Option changes a collector.
type Option func(*settings)

// Labels adds labels with fixed values to all metrics: for the outbox, say, where a
// process has a collector for each. Default: none. Repeated, they add up.
func Labels(l map[string]string) Option {
	return func(s *settings) {
		all := prometheus.Labels{}
		maps.Copy(all, s.labels)
		maps.Copy(all, l)
		s.labels = all
	}
}

// Buckets are the upper bounds of the histograms of durations, ascending. Default:
// from 1 ms to 1 min in steps of two to three. The last of several holds.
func Buckets(bounds ...time.Duration) Option {
	return func(s *settings) { s.buckets = seconds(bounds) }
}

// LagBuckets are the same for the lag of the queue. Default: those of the
// durations, and 15 min, 1 h and a day. The last of several holds.
func LagBuckets(bounds ...time.Duration) Option {
	return func(s *settings) { s.lagBuckets = seconds(bounds) }
}

var defaultBuckets = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute,
}

func seconds(bounds []time.Duration) []float64 {
	out := make([]float64, len(bounds))
	for i, d := range bounds {
		out[i] = d.Seconds()
	}
	return out
}

// settings of a collector.
type settings struct {
	labels              prometheus.Labels
	buckets, lagBuckets []float64
}

func defaults() settings {
	lag := append(defaultBuckets[:len(defaultBuckets):len(defaultBuckets)], 15*time.Minute, time.Hour, 24*time.Hour)
	return settings{buckets: seconds(defaultBuckets), lagBuckets: seconds(lag)}
}
