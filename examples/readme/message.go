package readme

import (
	"github.com/letterbox-go/letterbox/codec"
	"github.com/letterbox-go/letterbox/queue"
	"github.com/letterbox-go/letterbox/typed"
)

// OrderPlaced is a message.
type OrderPlaced struct {
	ID int `json:"id"`
}

// Placed is its queue. It holds no connection.
var Placed = typed.NewQueue[OrderPlaced]("orders.placed")

// Parcel is another message.
type Parcel struct {
	Order  int   `json:"order"`
	Grams  int   `json:"grams"`
	Pieces []int `json:"pieces"`
}

// Packed writes MessagePack, in the outbox of the schema "warehouse".
var Packed = typed.NewQueue("parcels.packed", codec.MsgPack[Parcel]()).In(queue.Outbox{Schema: "warehouse"})
