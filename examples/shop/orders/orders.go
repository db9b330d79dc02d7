// Package orders is the domain of the shop: what an order is, which messages tell of it, and what follows from them.
//
// The queues are package variables, and no variable here holds a connection: the database comes in with [New], and what
// the domain wants to be told of goes out with [Subscriptions]. A program may publish, handle, or do both.
package orders

import (
	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// Outbox is where the shop's messages live: beside its other tables, in a schema of their own.
var Outbox = queue.Outbox{Schema: "shop"}

// Placed tells that an order was placed. It is JSON, which is the default.
var Placed = typed.NewQueue[OrderPlaced]("orders.placed").In(Outbox)

// Receipts holds the receipts to be sent. They are MessagePack, which is smaller.
var Receipts = typed.NewQueue("receipts", codec.MsgPack[Receipt]()).In(Outbox)

// OrderPlaced says that an order was placed.
type OrderPlaced struct {
	OrderID int64 `json:"order_id"`
}

// Receipt is a mail to a customer.
type Receipt struct {
	OrderID int64  `json:"order_id"`
	Email   string `json:"email"`
	Text    string `json:"text"`
}

// Subscriptions are the shop's handlers, for [queue.NewWorker].
func Subscriptions(s *Service) queue.Subscriptions {
	return queue.Subscriptions{
		Placed.Handle(s.OnPlaced),
		Receipts.Handle(s.OnReceipt, queue.Concurrency(2)), // the mail server likes it slow
	}
}
