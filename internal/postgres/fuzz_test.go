package postgres

import (
	"strings"
	"testing"
)

// unquote reads one quoted identifier as PostgreSQL does, and returns what comes
// after it.
func unquote(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", "", false
}

// Whatever a table is called, its name stays one name, or is refused.
func FuzzNames(f *testing.F) {
	for _, seed := range [][2]string{
		{"", "outbox"}, {"app", "out box"}, {`a"b`, `x"; DROP TABLE users; --`}, {"public", strings.Repeat("é", 40)}, {"\x00", "\xff"}, {`""`, `"`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, schema, table string) {
		bound, err := Bind(Names{Schema: schema, Table: table})
		if err != nil {
			return
		}
		rest, ok := bound.String(), true
		if schema != "" {
			var name string
			if name, rest, ok = unquote(rest); !ok || name != schema || !strings.HasPrefix(rest, ".") {
				t.Fatalf("schema %q became %q", schema, bound)
			}
			rest = rest[1:]
		}
		name, rest, ok := unquote(rest)
		if want := bound.Names().Table; !ok || name != want || rest != "" {
			t.Fatalf("table %q became %q", want, bound)
		}
		if strings.ContainsRune(bound.sql.claim, 0) {
			t.Fatalf("a NUL got into a statement")
		}
	})
}

// A literal ends where it should, whatever standard_conforming_strings is.
func FuzzLiteral(f *testing.F) {
	for _, seed := range []string{"outbox", `it's`, `\'`, `\\'; --`, `"a"."b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, escapes := strings.TrimSpace(literal(s)), false
		if strings.HasPrefix(text, "E") {
			text, escapes = text[1:], true
		}
		if strings.Contains(s, `\`) && !escapes {
			t.Fatalf("%q has a backslash in a plain literal", text)
		}
		if len(text) < 2 || text[0] != '\'' || text[len(text)-1] != '\'' {
			t.Fatalf("%q is no literal", text)
		}
		var b strings.Builder
		for in := text[1 : len(text)-1]; in != ""; {
			switch {
			case strings.HasPrefix(in, "''"), escapes && strings.HasPrefix(in, `\\`):
				b.WriteByte(in[1])
				in = in[2:]
			case in[0] == '\'', escapes && in[0] == '\\':
				t.Fatalf("%q ends early", text)
			default:
				b.WriteByte(in[0])
				in = in[1:]
			}
		}
		if b.String() != s {
			t.Fatalf("%q came back as %q", s, b.String())
		}
	})
}
