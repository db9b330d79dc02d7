package codec

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

// EncodeError says that a value could not be encoded. Nothing was written: the slice handed to Append is as it was.
type EncodeError struct {
	Type string // the Go type, as in "orders.Placed"
	Err  error  // why
}

// Error names the type and the cause, and quotes nothing of the value; nor do the errors that it unwraps to.
func (e *EncodeError) Error() string { return "codec: encode " + e.Type + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *EncodeError) Unwrap() error { return e.Err }

// DecodeError says that a payload could not be decoded, and never will be by this program: trying again changes nothing.
// The payload is untouched.
type DecodeError struct {
	Type        string // the Go type, as in "orders.Placed"
	ContentType string // as the message gives it; empty if it has none
	Err         error  // why
}

// Error names the type, the content type and the cause, and quotes nothing of the payload; nor do the errors that it
// unwraps to.
func (e *DecodeError) Error() string {
	from := "a payload without content type"
	if e.ContentType != "" {
		from = quote(e.ContentType)
	}
	return "codec: decode " + e.Type + " from " + from + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// UnknownContentTypeError says that a message came with a content type that no codec of the [Set] reads. It arrives
// inside a [DecodeError]. List a codec for it, and replay the dead letter.
type UnknownContentTypeError struct {
	ContentType string   // as the message gives it
	Known       []string // what the set reads, its writer first
}

// Error names the content type and those that are known.
func (e *UnknownContentTypeError) Error() string {
	return "unknown content type " + quote(e.ContentType) + "; known are " + strings.Join(e.Known, ", ")
}

// PanicError is the cause inside an [EncodeError] or [DecodeError] where a codec, or a method of T that it called,
// panicked.
type PanicError struct {
	Value any    // what recover gave
	Stack []byte // where
}

// Error gives the type of the value only: its text may quote the payload.
func (e *PanicError) Error() string { return fmt.Sprintf("panic with a value of type %T", e.Value) }

// Is and As reach the value if it is an error, such as a runtime.Error. It cannot be unwrapped, for its text may quote.
func (e *PanicError) Is(target error) bool {
	err, ok := e.Value.(error)
	return ok && errors.Is(err, target)
}

// As is described at Is.
func (e *PanicError) As(target any) bool {
	err, ok := e.Value.(error)
	return ok && errors.As(err, target)
}

func encodeFailed[T any](err error) error {
	return &EncodeError{Type: typeName[T](), Err: discreet[T](err)}
}

func decodeFailed[T any](contentType string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = &cause{text: errCut.Error(), err: err}
	}
	return &DecodeError{Type: typeName[T](), ContentType: contentType, Err: discreet[T](err)}
}

// caught turns what recover gave into an error. It is called by the deferred function itself, so that the stack is the
// one of the panic.
func caught(value any) error {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// quote makes a content type of unknown origin fit for a log line.
func quote(contentType string) string {
	if len(contentType) > maxContentType {
		return fmt.Sprintf("%q...", contentType[:maxContentType])
	}
	return fmt.Sprintf("%q", contentType)
}
