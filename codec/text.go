package codec

import (
	"encoding"
	"reflect"
	"unicode/utf8"
)

// decodeText reads text/plain, which is how a Python service publishes a str: its bare characters in UTF-8. Only a T that
// is text itself can hold them. Guessing at anything else, such as a number, would read "007" in a way that nobody chose.
func decodeText[T any](data []byte, v *T) error {
	target := textTarget(reflect.ValueOf(v).Elem())
	if u, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText(append([]byte{}, data...)) // a copy, since it may keep what it gets
	}
	switch {
	case isBytes(target):
		target.SetBytes(append([]byte{}, data...))
	case !isText(target):
		return errNotText
	case !utf8.Valid(data):
		return errNotUTF8
	case target.Kind() == reflect.String:
		target.SetString(string(data))
	default:
		target.Set(reflect.ValueOf(string(data)))
	}
	return nil
}

// takesText says whether text/plain can be read into T.
func takesText[T any]() bool {
	target := textTarget(reflect.ValueOf(new(T)).Elem())
	_, ok := target.Addr().Interface().(encoding.TextUnmarshaler)
	return ok || isBytes(target) || isText(target)
}

// textTarget follows the pointers of a T such as *string, and makes what they point to.
func textTarget(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			break
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return v
}

func isText(v reflect.Value) bool {
	return v.Kind() == reflect.String || v.Kind() == reflect.Interface && v.NumMethod() == 0
}

func isBytes(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
}
