package main

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// heapPeak watches how large the heap gets, live objects and garbage, beyond what it is at the start. stop returns it in
// MiB.
func heapPeak() (stop func() float64) {
	runtime.GC()
	read := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, end, peak := read(), make(chan struct{}), make(chan uint64)
	go func() {
		most := before
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				peak <- max(most, read())
				return
			case <-tick.C:
				most = max(most, read())
			}
		}
	}()
	return func() float64 {
		close(end)
		return float64(<-peak-before) / (1 << 20)
	}
}
