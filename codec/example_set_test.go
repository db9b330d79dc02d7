package codec_test

import (
	"errors"
	"fmt"

	"github.com/letterbox-go/letterbox/codec"
)

// A queue moves from JSON to MessagePack while it is in use. As each set reads both, neither the services nor the
// messages need to move at the same moment.
func ExampleNewSet() {
	before, _ := codec.NewSet(codec.JSON[Placed]())
	after, _ := codec.NewSet(codec.MsgPack[Placed]())

	// An old producer, whose message a new worker finds.
	data, _ := before.Append(nil, Placed{ID: 1})
	placed, err := after.Decode(before.ContentType(), data)
	fmt.Printf("%s: %q: %+v %v\n", before.ContentType(), data, placed, err)

	// A new producer, whose message an old worker finds.
	data, _ = after.Append(nil, Placed{ID: 2})
	placed, err = before.Decode(after.ContentType(), data)
	fmt.Printf("%s: %q: %+v %v\n", after.ContentType(), data, placed, err)
	// Output:
	// application/json: "{\"id\":1}": {ID:1 Note:} <nil>
	// application/msgpack: "\x81\xa2id\x02": {ID:2 Note:} <nil>
}

func ExampleUnknownContentTypeError() {
	set, _ := codec.NewSet(codec.JSON[Placed]())
	_, err := set.Decode("text/csv", []byte("1,fragile"))

	var unknown *codec.UnknownContentTypeError
	if errors.As(err, &unknown) {
		fmt.Println(unknown.ContentType, unknown.Known)
	}
	// Output:
	// text/csv [application/json application/msgpack]
}
