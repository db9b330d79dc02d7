package readme_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestReadme_ListsEveryOption(t *testing.T) {
	t.Parallel()
	text := page(t)
	// BadOption and Beside are for those who make options, not for those who use them.
	isOption := map[string]bool{"WorkerOption": true, "SubscribeOption": true, "DeliveryOption": true, "PublishOption": true, "MessageOption": true}
	options := 0
	for _, d := range declarations(t, filepath.Join(root, "queue")) {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !f.Name.IsExported() || f.Name.Name == "BadOption" || f.Name.Name == "Beside" || f.Type.Results == nil || len(f.Type.Results.List) != 1 {
			continue
		}
		if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && isOption[result.Name] {
			options++
			if !strings.Contains(text, "| `"+f.Name.Name+"(") {
				t.Errorf("queue.%s is in no table of README.md", f.Name.Name)
			}
		}
	}
	if options < 5 {
		t.Errorf("found only %d options in package queue", options)
	}
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// declarations are those of all files of a folder but its tests.
func declarations(t *testing.T, dir string) (all []ast.Decl) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path) // so that go test sees when it changes
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parsed.Decls...)
	}
	return all
}
