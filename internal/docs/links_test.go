package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinks_LeadSomewhere(t *testing.T) {
	t.Parallel()
	headings := map[string]map[string]bool{}
	for _, p := range pages(t) {
		headings[p.path] = anchors(p)
	}
	n := 0
	for _, p := range pages(t) {
		for i, line := range p.prose() {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				file, anchor, _ := strings.Cut(found[1], "#")
				if strings.Contains(file, "://") {
					continue
				}
				n++
				target := p.path
				if file != "" {
					target = path.Join(path.Dir(p.path), file)
				}
				if _, err := os.Stat(filepath.Join(root, target)); err != nil {
					t.Errorf("%s:%d: %s leads to %s, which is not there", p.path, i+1, found[0], target)
					continue
				}
				if known := headings[target]; anchor != "" && known != nil && !known[anchor] {
					t.Errorf("%s:%d: %s: %s has no heading for #%s", p.path, i+1, found[0], target, anchor)
				}
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d links were found", n)
	}
}

// anchors are the names by which the headings of a page are linked to, as GitHub makes them.
func anchors(p page) map[string]bool {
	all := map[string]bool{}
	for _, line := range p.prose() {
		text := strings.TrimLeft(line, "#")
		if text == line || !strings.HasPrefix(text, " ") {
			continue
		}
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(text))] = true
	}
	return all
}
