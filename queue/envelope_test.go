package queue

import (
	"encoding/json"
	"testing"

	"github.com/matryer/is"
)

func TestHeader_ReadsOneValue(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ raw, name, want string }{
		{``, "a", ""},
		{`null`, "a", ""},
		{`{}`, "a", ""},
		{`{"a": "1"}`, "a", "1"},
		{`{"a":"1","b":"2"}`, "b", "2"},
		{`{"a": "1", "b": "2"}`, "c", ""},
		{`{"a": "\u00fc"}`, "a", "ü"},
		{`{"a": "ü"}`, "a", "ü"},
		{`{"a": 5, "b": "2"}`, "a", "5"},
		{`{"a": 5, "b": "2"}`, "b", "2"},
		{`{"a": {"b": "c"}}`, "b", ""},
		{`{"a": "1"`, "a", ""},
		{`{"a": "1"} x`, "a", ""},
		{`["a", "1"]`, "a", ""},
		{` { "a" : "1" , "b" : "2" } `, "b", "2"},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			is := is.New(t)
			is.Equal(header([]byte(tt.raw), tt.name), tt.want)
		})
	}
}

func TestEnvelope_IsJSON(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	e := envelope{contentType: "text/plain", correlationID: `a "quoted" <id>`, headers: map[string]string{"z": "ü", "a": "\t\\"}}
	b, err := e.encode()
	is.NoErr(err)
	var got map[string]string
	is.NoErr(json.Unmarshal(b, &got))
	is.Equal(got, map[string]string{"content-type": "text/plain", "correlation_id": `a "quoted" <id>`, "z": "ü", "a": "\t\\"})
}

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

func FuzzEnvelope(f *testing.F) {
	f.Add("application/json", "id", "name", "value")
	f.Fuzz(func(t *testing.T, contentType, id, name, value string) {
		b, err := envelope{contentType, id, map[string]string{name: value}}.encode()
		if err != nil {
			return
		}
		if got := header(b, name); got != value {
			t.Errorf("wrote %q, read %q", value, got)
		}
		if got := header(b, HeaderCorrelationID); got != id {
			t.Errorf("wrote the correlation id %q, read %q", id, got)
		}
	})
}
