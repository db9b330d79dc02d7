package codec

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// The errors of decoders quote what they could not read: json.SyntaxError a character, json.UnmarshalTypeError a number,
// an unknown field its name, strconv and time.Parse the whole text. Errors end up in logs and in the table of dead
// letters, where payloads may not be, so that texts are built here from what is safe: kinds, Go types, field names of T,
// offsets. What is not recognised is withheld.

// cause is an error with a text of its own. The original stays in reach of errors.Is and errors.As, for those who ask for
// it, but it cannot be unwrapped: what reports errors walks down the chain and shows each text.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cause) As(target any) bool   { return errors.As(c.err, target) }

// discreet gives an error of a library, or of a method of T that it called, a text that quotes nothing.
func discreet[T any](err error) error {
	if isOurs(err) {
		return err
	}
	text := describe(err, reflect.TypeFor[T]())
	if text == "" {
		text = fmt.Sprintf("an error whose text is withheld, since it may quote the payload (%T)", err)
	}
	return &cause{text: text, err: err}
}

// discreetForeign does so for a codec of somebody else. Its texts are its own affair, by the contract of [Codec], except
// for those that are known to quote and are easily passed on by mistake.
func discreetForeign[T any](err error) error {
	if isOurs(err) {
		return err
	}
	if text := describe(err, reflect.TypeFor[T]()); text != "" {
		return &cause{text: text, err: err}
	}
	return err
}

func isOurs(err error) bool {
	switch err.(type) {
	case fault, *malformed, *unreadable, *cause, *PanicError, *EncodeError, *DecodeError, *UnknownContentTypeError:
		return true
	}
	return false
}

// describe gives the text for an error of a kind that is known, else nothing. T is the type that was decoded.
func describe(err error, t reflect.Type) string {
	var (
		marshaler *json.MarshalerError
		syntax    *json.SyntaxError
		mismatch  *json.UnmarshalTypeError
		value     *json.UnsupportedValueError
		kind      *json.UnsupportedTypeError
		number    *strconv.NumError
		instant   *time.ParseError
		base64At  base64.CorruptInputError
	)
	switch {
	case errors.As(err, &marshaler):
		inner := describe(marshaler.Err, t)
		if inner == "" {
			inner = fmt.Sprintf("the text is withheld, since it may quote the value (%T)", marshaler.Err)
		}
		return "the marshaler of " + marshaler.Type.String() + " failed: " + inner
	case errors.As(err, &syntax):
		return fmt.Sprintf("%s, at offset %d", syntaxText(syntax), syntax.Offset)
	case errors.As(err, &mismatch):
		return mismatchText(mismatch, t)
	case errors.As(err, &value):
		if strings.HasPrefix(value.Str, "encountered a cycle") {
			return "the value contains itself"
		}
		return "a number that JSON cannot express"
	case errors.As(err, &kind):
		return "JSON cannot express the type " + kind.Type.String()
	case errors.As(err, &number):
		return "strconv." + number.Func + " failed: " + numberText(number.Err)
	case errors.As(err, &instant):
		return "a time that is not in the layout " + strconv.Quote(instant.Layout)
	case errors.As(err, &base64At):
		return base64At.Error() // gives an offset only
	}
	return libraryText(err.Error())
}

func syntaxText(err *json.SyntaxError) string {
	switch text := err.Error(); {
	case text == "unexpected end of JSON input":
		return "the JSON ends too early"
	case strings.Contains(text, " exceeded max depth"):
		return errTooDeep.Error()
	}
	return "invalid JSON"
}

func numberText(err error) string {
	if errors.Is(err, strconv.ErrRange) || errors.Is(err, strconv.ErrSyntax) {
		return err.Error()
	}
	return "the text is withheld"
}

// mismatchText gives the path of the field as far as it consists of fields of T. The JSON of Go 1.25's
// GOEXPERIMENT=jsonv2 puts the keys of maps in it too.
func mismatchText(err *json.UnmarshalTypeError, t reflect.Type) string {
	found, _, _ := strings.Cut(err.Value, " ") // "number 1e999"
	switch found {
	case "array", "object":
		found = "an " + found
	case "bool", "number", "string":
		found = "a " + found
	default:
		found = "a value"
	}
	into := ""
	if err.Field != "" {
		names := make(map[string]bool)
		fieldNames(t, names, make(map[reflect.Type]bool))
		path := strings.Split(err.Field, ".")
		for i := range path {
			if !names[path[i]] {
				path[i] = "*"
			}
		}
		into = "field " + strings.Join(path, ".") + " of "
	}
	return fmt.Sprintf("%s cannot be read into %stype %v, at offset %d", found, into, err.Type, err.Offset)
}

// fieldNames collects the names that fields have in JSON, anywhere in t.
func fieldNames(t reflect.Type, names map[string]bool, seen map[reflect.Type]bool) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		fieldNames(t.Elem(), names, seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			tagged, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			for _, name := range strings.Split(tagged, ".") {
				names[name] = true
			}
			names[f.Name] = true
			fieldNames(f.Type, names, seen)
		}
	}
}

// libraryText recognises the errors of encoding/json and msgpack that have no type. Where a part of the text is kept, it
// is one that names types only.
func libraryText(text string) string {
	for _, known := range []struct{ prefix, text string }{
		{"json: unknown field ", "a field that the type does not have"},
		{"json: invalid use of ,string struct tag", "a value that does not fit the string option of its field's tag"},
		{"json: invalid number literal", "an invalid number in a json.Number"},
		{"json: cannot set embedded pointer to unexported struct", "an embedded pointer to an unexported struct cannot be set"},
		{"msgpack: unknown field ", "a field that the type does not have"},
		{"msgpack: unknown ext id=", "an extension of a type that is not registered"},
		{"msgpack: got ext type=", "an extension of another type than wanted"},
		{"msgpack: invalid time ext id=", "an extension where a time is wanted"},
		{"msgpack: invalid ext len=", "a timestamp of a length that does not exist"},
		{"msgpack: number of fields in array-encoded struct has changed", "an array of another length than the struct has fields"},
	} {
		if strings.HasPrefix(text, known.prefix) {
			return known.text
		}
	}
	for _, prefix := range []string{
		"msgpack: Encode(unsupported ", "msgpack: Encode(non-addressable ",
		"msgpack: Decode(unsupported ", "msgpack: Decode(nonaddressable ",
	} {
		if strings.HasPrefix(text, prefix) {
			return text
		}
	}
	for _, prefix := range []string{"msgpack: invalid code=", "msgpack: unexpected code="} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return msgPackCodeText(rest)
		}
	}
	if _, rest, ok := strings.Cut(text, " len is "); ok && strings.Contains(rest, ", but msgpack has ") {
		return "more elements than the Go array has"
	}
	return ""
}

// msgPackCodeText translates "a3 decoding int64". The code itself may be a payload's number or length, so its kind is
// given instead.
func msgPackCodeText(text string) string {
	code, wanted, _ := strings.Cut(text, " decoding ")
	switch wanted {
	case "nil":
	case "bool":
		wanted = "a bool"
	case "int64":
		wanted = "an integer"
	case "uint64":
		wanted = "an unsigned integer"
	case "float32", "float64":
		wanted = "a number"
	case "string/bytes length", "interned string":
		wanted = "a string or bytes"
	case "array length":
		wanted = "an array"
	case "map length":
		wanted = "a map"
	case "ext len":
		wanted = "a time or another extension"
	default:
		return ""
	}
	c, err := strconv.ParseUint(code, 16, 8)
	if err != nil {
		return ""
	}
	return msgPackKind(byte(c)) + " cannot be read where " + wanted + " is wanted"
}
