package dlq

import (
	"strings"
	"testing"
)

// A cursor is read back as it was written; anything else is refused without a
// panic, and quoted no longer than a screen line.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "1.2", "-5.7", "9223372036854775807.1", "-9223372036854775808.1", "1.2x", "1", " 1.2", "1e5.2", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		if err != nil {
			if len(err.Error()) > 400 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if got := formatCursor(p); got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
	})
}
