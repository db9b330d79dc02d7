package guides

import (
	"context"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// Delivery has got a field: messages from before have no Floor, and it is zero.
type Delivery struct {
	Street string `json:"street"`
	Floor  int    `json:"floor,omitempty"`
}

// Deliveries passes over fields that it does not know, so a publisher may be newer than the worker.
var Deliveries = typed.NewQueue[Delivery]("deliveries")

// StrictDeliveries makes dead letters of them instead.
var StrictDeliveries = typed.NewQueue("deliveries", codec.JSON[Delivery](codec.Strict()))

// DeliveryV2 is another message: what was a street is now an address.
type DeliveryV2 struct {
	Address []string `json:"address"`
}

// DeliveriesV2 is its queue. The old one stays until it is empty.
var DeliveriesV2 = typed.NewQueue[DeliveryV2]("deliveries.v2")

// BothVersions handles old messages as new ones.
func BothVersions(deliver func(context.Context, DeliveryV2) error) queue.Subscriptions {
	return queue.Subscriptions{
		DeliveriesV2.Handle(deliver),
		Deliveries.Handle(func(ctx context.Context, d Delivery) error {
			return deliver(ctx, DeliveryV2{Address: []string{d.Street}})
		}),
	}
}

// Reports is on its way from JSON to MessagePack: it still writes the first and reads both. When every worker has got so
// far, MsgPack goes to the front.
var Reports = typed.NewQueue("reports", codec.JSON[Report](), codec.MsgPack[Report]())
