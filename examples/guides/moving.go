package guides

import (
	"context"
	"strconv"

	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// Shared is a table whose other side is in Python: its workers do not tell when they sleep, so each publish notifies.
var Shared = queue.Outbox{Notify: queue.NotifyAlways}

// Invoice is what the Python side knows as a dict.
type Invoice struct {
	Number string `json:"number"`
}

// Invoices is a queue of that table.
var Invoices = typed.NewQueue[Invoice]("invoices").In(Shared)

// Broker is the client of a message broker. Publish returns when the broker has the message.
type Broker interface {
	Publish(ctx context.Context, topic, id string, body []byte) error
}

// Forward is a relay: it hands the messages of a queue on as they are. One may come twice, so its id goes along.
func Forward(q queue.Queue, b Broker) queue.Subscription {
	return q.Handle(func(ctx context.Context, d *queue.Delivery) error {
		return b.Publish(ctx, d.Queue, strconv.FormatInt(d.ID, 10), d.Payload)
	})
}
