package timers

import "testing"

// A cursor is read back as it was written, and nothing else is.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "1.2", "infinity.9", "-infinity.-1", "1700000000000000.5", "1.", ".1", "a.b", "1.2.3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseCursor(text)
		if err != nil {
			return
		}
		again, err := parseCursor(formatCursor(p))
		if err != nil || again != p {
			t.Fatalf("%q became %v, then %v", text, p, again)
		}
	})
}
