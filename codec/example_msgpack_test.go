package codec_test

import (
	"fmt"

	"github.com/letterbox-go/letterbox/codec"
)

// The names of fields are those of the json tags, and a queue can move from JSON without a change to its type.
func ExampleMsgPack() {
	c := codec.MsgPack[Placed]()

	data, err := c.Append(nil, Placed{ID: 1})
	fmt.Printf("%q %v\n", data, err)

	var placed Placed
	err = c.Decode(data, &placed)
	fmt.Printf("%+v %v\n", placed, err)
	// Output:
	// "\x81\xa2id\x01" <nil>
	// {ID:1 Note:} <nil>
}

func ExampleTag() {
	type row struct {
		ID int `json:"id" db:"order_id"`
	}
	for _, c := range []codec.Codec[row]{
		codec.MsgPack[row](),
		codec.MsgPack[row](codec.Tag("db")),
		codec.MsgPack[row](codec.Tag("")),
	} {
		data, err := c.Append(nil, row{ID: 1})
		fmt.Printf("%q %v\n", data, err)
	}
	// Output:
	// "\x81\xa2id\x01" <nil>
	// "\x81\xa8order_id\x01" <nil>
	// "\x81\xa2ID\x01" <nil>
}
