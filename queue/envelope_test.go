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
