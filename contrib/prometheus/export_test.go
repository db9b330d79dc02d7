package prometheus

import "github.com/letterbox-go/letterbox/queue"

// Observer is what a worker's events are told to, for events that are hard to bring
// about.
func (c *Collector) Observer() queue.Observer { return c.observer() }
