package codec_test

import (
	"fmt"

	"github.com/letterbox-go/letterbox/codec"
)

type Placed struct {
	ID   int64  `json:"id"`
	Note string `json:"note,omitempty"`
}

func ExampleJSON() {
	c := codec.JSON[Placed]()

	data, err := c.Append(nil, Placed{ID: 9007199254740993, Note: "<fragile> & heavy"})
	fmt.Println(string(data), err)

	var placed Placed
	err = c.Decode(data, &placed)
	fmt.Printf("%+v %v\n", placed, err)
	// Output:
	// {"id":9007199254740993,"note":"<fragile> & heavy"} <nil>
	// {ID:9007199254740993 Note:<fragile> & heavy} <nil>
}

// By default a field that the type does not have is passed over, and producers can add fields before their consumers know
// them.
func ExampleStrict() {
	data := []byte(`{"id":1,"colour":"red"}`)

	var placed Placed
	fmt.Println(codec.JSON[Placed]().Decode(data, &placed))
	fmt.Println(codec.JSON[Placed](codec.Strict()).Decode(data, &placed))
	// Output:
	// <nil>
	// codec: decode codec_test.Placed from "application/json": a field that the type does not have
}

func ExampleUseNumber() {
	data := []byte(`{"id":9007199254740993}`)

	var rounded, exact map[string]any
	fmt.Println(codec.JSON[map[string]any]().Decode(data, &rounded))
	fmt.Println(codec.JSON[map[string]any](codec.UseNumber()).Decode(data, &exact))
	fmt.Printf("%.0f %v\n", rounded["id"], exact["id"])
	// Output:
	// <nil>
	// <nil>
	// 9007199254740992 9007199254740993
}
