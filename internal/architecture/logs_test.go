package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// logging are the packages whose lines users see.
var logging = []string{"dlq", "internal/lease", "internal/memory", "internal/postgres", "queue", "timers", "typed"}

// keyRow is a row of the table of keys in docs/monitoring.md.
var keyRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")

func TestLogKeys_AreThoseOfTheDocumentation(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "monitoring.md"))
	is.NoErr(err)
	_, section, found := strings.Cut(string(text), "\n## Logs\n")
	is.True(found)
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, m := range keyRow.FindAllStringSubmatch(section, -1) {
		listed[m[1]] = true
	}
	used := map[string]bool{}
	for _, dir := range logging {
		keysIn(t, filepath.Join("..", "..", filepath.FromSlash(dir)), used)
	}
	is.True(len(used) > 10)
	is.Equal(slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(listed)))
}

// keysIn adds the keys of all attributes that the files of a folder make.
func keysIn(t *testing.T, dir string, keys map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !makesAttr(call) {
				return true
			}
			key, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: the key of an attribute is not written out", set.Position(call.Pos()))
				return true
			}
			text, err := strconv.Unquote(key.Value)
			if err != nil {
				t.Fatal(err)
			}
			keys[text] = true
			return true
		})
	}
}

// makesAttr says whether a call is one of slog.String and its siblings.
func makesAttr(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 {
		return false
	}
	pkg, ok := f.X.(*ast.Ident)
	return ok && pkg.Name == "slog" && f.Sel.Name[0] >= 'A' && f.Sel.Name[0] <= 'Z' && !strings.HasPrefix(f.Sel.Name, "New")
}
