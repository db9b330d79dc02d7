package queue

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

// The short way through the headers must agree with the long one.
func FuzzHeader(f *testing.F) {
	for _, raw := range []string{`{"a":"1"}`, `{"a": "1", "b": 2}`, `{"a":"\n"}`, `{"a":"1","a":"2"}`, `{"a":"ü"}`, "null", "{", `{"a" "1"}`, `{"a":"1",}`} {
		f.Add([]byte(raw), "a")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		if got, want := header(raw, name), DecodeHeaders(raw)[name]; got != want {
			t.Errorf("header(%q, %q) = %q, the long way says %q", raw, name, got, want)
		}
	})
}

// Headers are read back as they were written, all of them and nothing else, or are
// refused for a reason that they give.
func FuzzEnvelope(f *testing.F) {
	f.Add("application/json", "id", "name", "value", "other", `"quoted" \\ <html> ü \u2028`)
	f.Add("", "", "", "", "a", "a")
	f.Add("a", "a", "correlation_id", "x", "content-type", "y")
	f.Add("a\x00", "\xff", "\xed\xa0\x80", "\x01", "😀", "\ufffd")
	f.Fuzz(func(t *testing.T, contentType, id, name1, value1, name2, value2 string) {
		headers := map[string]string{name1: value1, name2: value2}
		b, err := envelope{contentType, id, headers}.encode()
		if fit := fits(contentType, id, headers); fit != (err == nil) {
			t.Fatalf("fits: %v, but the error is %v", fit, err)
		}
		if err != nil {
			if !errors.Is(err, ErrInvalidHeader) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		want := maps.Clone(headers)
		want[HeaderCorrelationID] = id
		if contentType != "" {
			want[HeaderContentType] = contentType
		}
		if got := DecodeHeaders(b); !maps.Equal(got, want) {
			t.Fatalf("%q became %q", want, got)
		}
		for name, value := range want {
			if got := header(b, name); got != value {
				t.Fatalf("%q has %q, wanted %q", name, got, value)
			}
		}
		if header(b, name1+name2) != want[name1+name2] {
			t.Fatalf("%s has %q", b, name1+name2)
		}
	})
}

// fits says what encode should, by other means.
func fits(contentType, id string, headers map[string]string) bool {
	all := map[string]string{HeaderCorrelationID: id}
	if contentType != "" {
		all[HeaderContentType] = contentType
	}
	for name, value := range headers {
		if _, taken := all[name]; taken || name == "" || name == HeaderContentType {
			return false
		}
		all[name] = value
	}
	for name, value := range all {
		if text := name + value; !utf8.ValidString(name) || !utf8.ValidString(value) || strings.Contains(text, "\x00") {
			return false
		}
	}
	text, err := json.Marshal(all)
	return err == nil && len(text) <= MaxHeaders
}

// What other writers leave is read for what it is: of an object, each value, a
// string as it is, null as nothing and the rest as its JSON; of others, nothing. What was
// read can be sent on, but for names that the envelope has for itself.
func FuzzDecodeHeaders(f *testing.F) {
	for _, raw := range []string{
		`{"a": 1, "b": [1, {"c": null}], "d": "\ud83d\ude00", "e": "\ud83d", "": ""}`, `{"a": 1e400, "a": true}`, `[]`, `"a"`, `null`, ` {} `, `{"a":"b"} {}`,
		`{"correlation_id": 7, "content-type": null}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := DecodeHeaders(raw)
		var want map[string]any
		if json.Unmarshal(raw, &want) != nil && json.Valid(raw) && len(got) > 0 {
			// Only a number that no float64 holds is read here and not there.
			if !strings.ContainsAny(string(raw), "eE0123456789") {
				t.Fatalf("%q became %q", raw, got)
			}
			return
		}
		if len(got) != len(want) {
			t.Fatalf("%q became %q, wanted %q", raw, got, want)
		}
		for name, value := range want {
			s, isString := value.(string)
			if (isString || value == nil) && got[name] != s {
				t.Fatalf("%q has %q, wanted %q", name, got[name], s)
			}
			if !isString && value != nil && !json.Valid([]byte(got[name])) {
				t.Fatalf("%q has %q, which is no JSON", name, got[name])
			}
		}
		maps.DeleteFunc(got, func(name, value string) bool { return checkHeader(name, value) != nil })
		b, err := envelope{"", "id", got}.encode()
		if errors.Is(err, ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again := DecodeHeaders(b)
		delete(again, HeaderCorrelationID)
		if !maps.Equal(again, got) {
			t.Fatalf("%q became %q", got, again)
		}
	})
}
