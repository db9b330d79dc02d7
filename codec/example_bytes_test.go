package codec_test

import (
	"fmt"

	"github.com/letterbox-go/letterbox/codec"
)

// A Python service publishes bytes without a content type. A set that lists Bytes reads them as they are.
func ExampleBytes() {
	set, err := codec.NewSet(codec.Bytes())
	fmt.Println(set.ContentType(), err)

	data, err := set.Decode("", []byte{0xde, 0xad})
	fmt.Printf("%x %v\n", data, err)
	// Output:
	// application/octet-stream <nil>
	// dead <nil>
}
