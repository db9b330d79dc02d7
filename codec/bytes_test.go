package codec_test

import (
	"testing"

	"github.com/letterbox-go/letterbox/codec"
	"github.com/matryer/is"
)

func TestBytes_CopiesBothWays(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	c := codec.Bytes()
	is.Equal(c.ContentType(), "application/octet-stream")

	value := []byte("value")
	data, err := c.Append(nil, value)
	is.NoErr(err)
	value[0] = 'V'
	is.Equal(string(data), "value")

	var got []byte
	is.NoErr(c.Decode(data, &got))
	data[0] = 'V'
	is.Equal(string(got), "value")
}

func TestBytes_EmptyIsNotNil(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var got []byte
	is.NoErr(codec.Bytes().Decode(nil, &got))
	is.Equal(got, []byte{})
}
