package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

// page is a file of Markdown.
type page struct {
	path string // below the root
	text string
}

// block is a fenced block of a page.
type block struct {
	page     string
	line     int    // of its fence, from 1
	language string // after the fence
	comment  string // what the comment on the line before says; "" without one
	text     string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// pages are README.md and those of docs.
func pages(t *testing.T) (all []page) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append([]string{filepath.Join(root, "README.md")}, paths...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{filepath.ToSlash(name), string(text)})
	}
	if len(all) < 2 {
		t.Fatal("docs has no pages")
	}
	return all
}

// blocks are the fenced blocks in one of the languages, in their order. In a list they are indented, comment and all.
func (p page) blocks(languages ...string) (all []block) {
	var open *block
	before, indent := "", ""
	for i, line := range strings.Split(p.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			indent = line[:strings.Index(line, "`")]
			open = &block{page: p.path, line: i + 1, language: fence, comment: comment(before)}
		case isFence:
			for _, l := range languages {
				if l == open.language {
					all = append(all, *open)
				}
			}
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
		before = line
	}
	return all
}

// prose is the page without its blocks, line by line.
func (p page) prose() []string {
	lines, inside := strings.Split(p.text, "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence || inside {
			lines[i] = ""
		}
		inside = inside != fence
	}
	return lines
}

func comment(line string) string {
	text, opens := strings.CutPrefix(strings.TrimSpace(line), "<!-- ")
	text, closes := strings.CutSuffix(text, " -->")
	if !opens || !closes {
		return ""
	}
	return text
}

// each calls check for every block in one of the languages and reports what it returns.
func each(t *testing.T, check func(block) error, languages ...string) {
	t.Helper()
	n := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks(languages...) {
			n++
			if err := check(b); err != nil {
				t.Errorf("%s: %v", b, err)
			}
		}
	}
	if n == 0 {
		t.Errorf("no page has a block in %s", strings.Join(languages, " or "))
	}
}

// refuses checks that a checker finds fault with what is wrong, and says so in these words.
func refuses(t *testing.T, check func(block) error, b block, words string) {
	t.Helper()
	if err := check(b); err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("of %q it says %v; it should say %q", b.text, err, words)
	}
}
