package otel

import "github.com/letterbox-go/letterbox/queue"

// Observer is what a worker's events are told to, for events that are hard to bring
// about.
func (t *Telemetry) Observer() queue.Observer { return t.meters.observer() }
