package queue

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Names of the headers that make the envelope: the column headers is a JSON
// object of strings that holds at least the first two. They are the names that
// faststream-outbox writes.
const (
	// HeaderContentType says how the payload is encoded.
	HeaderContentType = "content-type"
	// HeaderCorrelationID ties together the messages of one story.
	HeaderCorrelationID = "correlation_id"
	// HeaderTraceparent and HeaderTracestate carry the W3C trace context.
	HeaderTraceparent = "traceparent"
	HeaderTracestate  = "tracestate"
)

// MaxHeaders is the most bytes that all headers of a message may have together, as
// JSON: 64 KiB.
const MaxHeaders = 64 << 10

// envelope is what goes into the column headers.
type envelope struct {
	contentType, correlationID string
	headers                    map[string]string // of the caller's
}

// encode returns the JSON object, the envelope's own names first.
func (e envelope) encode() ([]byte, error) {
	b := make([]byte, 0, 96)
	b = append(b, '{')
	var err error
	add := func(name, value string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = appendJSON(b, name)
		b = append(b, ':')
		b = appendJSON(b, value)
	}
	if e.contentType != "" {
		if err = checkText(e.contentType); err != nil {
			return nil, fmt.Errorf("%w: content type: %w", ErrInvalidHeader, err)
		}
		add(HeaderContentType, e.contentType)
	}
	if err = checkText(e.correlationID); err != nil {
		return nil, fmt.Errorf("%w: correlation id: %w", ErrInvalidHeader, err)
	}
	add(HeaderCorrelationID, e.correlationID)
	for _, name := range sortedKeys(e.headers) {
		if err := checkHeader(name, e.headers[name]); err != nil {
			return nil, err
		}
		add(name, e.headers[name])
	}
	b = append(b, '}')
	if len(b) > MaxHeaders {
		return nil, fmt.Errorf("%w: headers have %d bytes, the limit is %d", ErrTooLarge, len(b), MaxHeaders)
	}
	return b, nil
}

func sortedKeys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkHeader refuses what the envelope or the column cannot hold. It names the
// header, never its value.
func checkHeader(name, value string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty name", ErrInvalidHeader)
	case name == HeaderContentType:
		return fmt.Errorf("%w: %q is set by the codec", ErrInvalidHeader, name)
	case name == HeaderCorrelationID:
		return fmt.Errorf("%w: %q is set by the option CorrelationID", ErrInvalidHeader, name)
	}
	for _, s := range []string{name, value} {
		if err := checkText(s); err != nil {
			return fmt.Errorf("%w: %.40q: %w", ErrInvalidHeader, name, err)
		}
	}
	return nil
}

// checkText refuses what PostgreSQL's text and jsonb cannot hold.
func checkText(s string) error {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("holds a NUL")
	case !utf8.ValidString(s):
		return fmt.Errorf("is not valid UTF-8")
	}
	return nil
}

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	if plain(s) {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	text, _ := json.Marshal(s) // a string always encodes
	return append(b, text...)
}

// plain reports whether a string is its own JSON.
func plain[S string | []byte](s S) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

// DecodeHeaders reads the text of the column headers, for those who read the
// tables beside this package. Writers of every kind share them: null and what is
// not an object are no headers, and a value that is no string is given as its
// JSON text, but null as the empty string.
func DecodeHeaders(raw []byte) map[string]string {
	var values map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &values) != nil || values == nil {
		return nil
	}
	headers := make(map[string]string, len(values))
	for name, value := range values {
		var s string
		if json.Unmarshal(value, &s) != nil {
			s = string(value)
		}
		headers[name] = s
	}
	return headers
}

// header finds one value. Nearly always the object is flat and plain and is
// read where it lies; anything else takes the long way.
func header(raw []byte, name string) string {
	if v, ok := scanHeader(raw, name); ok {
		return v
	}
	return DecodeHeaders(raw)[name]
}

// scanHeader reads an object of plain strings; ok says that it could.
func scanHeader(raw []byte, name string) (value string, ok bool) {
	s := scanner{rest: raw}
	if !s.skip('{') {
		return "", len(raw) == 0
	}
	if s.skip('}') {
		return "", s.end()
	}
	for {
		k, ok1 := s.string()
		ok2 := s.skip(':')
		v, ok3 := s.string()
		if !ok1 || !ok2 || !ok3 {
			return "", false
		}
		if string(k) == name {
			value = text(v) // the last of equal names counts, as in encoding/json
		}
		if s.skip(',') {
			continue
		}
		if !s.skip('}') || !s.end() {
			return "", false
		}
		return value, true
	}
}

// text is string(b), without memory for what nearly every message has.
func text(b []byte) string {
	switch string(b) {
	case "application/json":
		return "application/json"
	case "application/msgpack":
		return "application/msgpack"
	}
	return string(b)
}

// scanner walks over JSON that has no escapes in its strings.
type scanner struct{ rest []byte }

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

func (s *scanner) skip(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) end() bool {
	s.space()
	return len(s.rest) == 0
}

func (s *scanner) string() ([]byte, bool) {
	if !s.skip('"') {
		return nil, false
	}
	for i, c := range s.rest {
		if c == '"' {
			found := s.rest[:i]
			s.rest = s.rest[i+1:]
			return found, plain(found)
		}
		if c == '\\' {
			return nil, false
		}
	}
	return nil, false
}
