package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestYAMLBlocks_CanBeRead(t *testing.T) {
	t.Parallel()
	each(t, checkYAML, "yaml", "yml")
}

func TestYAMLBlocks_AreRefusedWhereTheyCannot(t *testing.T) {
	t.Parallel()
	const good = "# a comment\na: 1\nb:\n- x: \"1 # 2\"\n  y: z # a comment\n-   name: 'it''s'\n    list: [1, {a: 2}]\n" +
		"c:\n  d: |\n    any: thing: goes\n\n   \tindented\n  e: http://host:80/\n\"f\": >-\n  text\n---\na: 2\n"
	if err := checkYAML(block{text: good}); err != nil {
		t.Error(err)
	}
	for text, words := range map[string]string{
		"a:\n\tb: 1\n":         "tab",
		"a: 1\n  b: 2\n":       "deeper",
		"a:\n    b: 1\n  c: 2": "no level",
		"a: b: c\n":            "quote",
		"a: \"b\n":             "no closing",
		"a: [1, 2\n":           "brackets",
		"a: 1\nb: 2\na: 3\n":   "twice",
		"a:\n  - 1\n  b: 2\n":  "list",
		"just words\n":         "neither",
	} {
		refuses(t, checkYAML, block{text: text}, words)
	}
}

func TestJSON_CanBeRead(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for _, b := range p.blocks("json") {
			if !json.Valid([]byte(b.text)) {
				t.Errorf("%s: the block is no JSON", b)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
	}
}

// level is a mapping or a list that is open at a line.
type level struct {
	indent int
	list   bool
	keys   map[string]bool
}

// document is what is open while the lines of YAML go by.
type document struct {
	open  []level
	takes bool // whether something deeper may follow
	text  int  // the indent above which lines are of a block of text; below zero: no such block
}

// checkYAML reads the YAML that people write into guides: mappings, lists, scalars and blocks of text. It knows no anchors
// and no values over several lines. A parser proper would be a dependency.
func checkYAML(b block) error {
	d := document{text: -1}
	for i, line := range strings.Split(b.text, "\n") {
		if err := d.read(line); err != nil {
			return fmt.Errorf("line %d of the YAML, %q: %w", i+1, line, err)
		}
	}
	return nil
}

func (d *document) read(line string) error {
	rest := strings.TrimLeft(line, " ")
	indent := len(line) - len(rest)
	switch {
	case strings.TrimSpace(rest) == "" || d.text >= 0 && indent > d.text:
		return nil
	case strings.HasPrefix(rest, "#"):
		return nil
	case line == "---":
		*d = document{text: -1}
		return nil
	case strings.HasPrefix(rest, "\t"):
		return errors.New("it is indented by a tab")
	}
	d.text = -1
	for {
		item, isItem := strings.CutPrefix(rest, "-")
		isItem = isItem && (item == "" || item[0] == ' ')
		if err := d.enter(indent, isItem); err != nil {
			return err
		}
		if !isItem {
			break
		}
		rest = strings.TrimLeft(item, " ")
		indent += 1 + len(item) - len(rest)
		d.takes = true
		if rest == "" || !strings.HasPrefix(rest, "- ") && !keyed.MatchString(rest) {
			return d.value(indent-1, rest)
		}
	}
	key := keyed.FindStringSubmatch(rest)
	if key == nil {
		return errors.New("it is neither a key with a value nor an item of a list")
	}
	keys := d.open[len(d.open)-1].keys
	if keys[key[1]] {
		return fmt.Errorf("the key %s is there twice", key[1])
	}
	keys[key[1]] = true
	return d.value(indent, key[2])
}

var keyed = regexp.MustCompile(`^("[^"]*"|'[^']*'|[^\s"'#&*!|>%@{}\[\],-][^:#]*):(?:\s+(.*))?$`)

// enter goes to the level of a line: back to one that is open, or into a deeper one where the line before lets it.
func (d *document) enter(indent int, list bool) error {
	for len(d.open) > 0 {
		top := d.open[len(d.open)-1]
		switch {
		case top.indent < indent && !d.takes:
			return errors.New("it is deeper than the line before, which has a value already")
		case top.indent < indent, top.indent == indent && list && !top.list && d.takes:
			d.push(indent, list)
			return nil
		case top.indent == indent && top.list == list:
			return nil
		case top.indent == indent && !top.list:
			return errors.New("it is an item of a list among keys")
		}
		d.open, d.takes = d.open[:len(d.open)-1], false
		if len(d.open) == 0 || d.open[len(d.open)-1].indent < indent {
			if top.indent == indent {
				return errors.New("it is a key in a list")
			}
			return errors.New("its indent is that of no level which is open")
		}
	}
	d.push(indent, list)
	return nil
}

func (d *document) push(indent int, list bool) {
	d.open, d.takes = append(d.open, level{indent: indent, list: list, keys: map[string]bool{}}), false
}

// value reads what follows a key or a dash at indent.
func (d *document) value(indent int, v string) error {
	d.takes = false
	v = strings.TrimSpace(v)
	switch {
	case v == "" || v[0] == '#':
		d.takes = true
	case v[0] == '|' || v[0] == '>':
		d.text = indent
	case v[0] == '"' || v[0] == '\'':
		if !quoted.MatchString(v) {
			return errors.New("there is no closing quote, or something behind it")
		}
	case v[0] == '[' || v[0] == '{':
		v, _, _ = strings.Cut(v, " #")
		if strings.Count(v, "[") != strings.Count(v, "]") || strings.Count(v, "{") != strings.Count(v, "}") {
			return errors.New("its brackets do not match")
		}
	default:
		if v, _, _ = strings.Cut(v, " #"); strings.Contains(v, ": ") || strings.HasSuffix(v, ":") {
			return errors.New("its value has a colon in it: quote it")
		}
	}
	return nil
}

var quoted = regexp.MustCompile(`^("([^"\\]|\\.)*"|'([^']|'')*')\s*(#.*)?$`)
