package codec

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	typeJSON    = "application/json"
	typeMsgPack = "application/msgpack"
	typeBytes   = "application/octet-stream"
	typeText    = "text/plain"

	// The length of a queue's name in the table is the measure for this one too; real ones have some 30 bytes.
	maxContentType = 255
)

// essence is the part of a content type that is compared: lower case, without parameters. It does not allocate for a type
// that is in this form already.
func essence(contentType string) string {
	before, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(before))
}

// checkContentType says whether a codec's content type can be stored in a message: headers are a jsonb object, which
// takes neither NUL nor broken UTF-8.
func checkContentType(contentType string) error {
	switch {
	case essence(contentType) == "":
		return errors.New("the content type is empty")
	case len(contentType) > maxContentType:
		return fmt.Errorf("the content type has %d bytes, more than %d", len(contentType), maxContentType)
	case !utf8.ValidString(contentType):
		return errors.New("the content type is not valid UTF-8")
	case strings.ContainsFunc(contentType, unicode.IsControl):
		return fmt.Errorf("the content type %q has control characters", contentType)
	}
	return nil
}
