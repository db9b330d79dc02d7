package codec

import "fmt"

// malformed is a fault of the payload at some place. Its text is ours, as are all in this file, and quotes nothing.
type malformed struct {
	what   string
	offset int64
}

func (m *malformed) Error() string { return fmt.Sprintf("%s, at offset %d", m.what, m.offset) }

// unreadable is a fault of a payload that was just written.
type unreadable struct{ err error }

func (u *unreadable) Error() string {
	return "what was written cannot be read back " +
		"(does a MarshalMsgpack or EncodeMsgpack method write exactly one value?): " + u.err.Error()
}

func (u *unreadable) Unwrap() error { return u.err }

// fault is what can be wrong in one way only.
type fault string

func (f fault) Error() string { return string(f) }

const (
	errEmpty   = fault("the payload is empty")
	errCut     = fault("the payload ends too early")
	errTooDeep = fault("the value is nested deeper than 10000")
	errMapKey  = fault("the key of a map is itself an array, a map or bytes")
	errNotUTF8 = fault("the text is not valid UTF-8")
	errNotText = fault("plain text needs a string, a []byte, an encoding.TextUnmarshaler or an any")
)
