package readme_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"
)

const root = "../.."

func TestReadme_ShowsCodeThatCompiles(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	// A comment, unseen on the page, says where a block comes from: "<!-- file.go: Name, Name -->".
	from := regexp.MustCompile(`^<!-- (\S+\.go): (.+) -->$`)
	lines := strings.Split(page(t), "\n")
	blocks := 0
	for i, line := range lines {
		if line != "```go" {
			continue
		}
		blocks++
		source := from.FindStringSubmatch(lines[i-1])
		if source == nil {
			t.Errorf("README.md:%d: a Go block without a comment before it that names its source", i+1)
			continue
		}
		block, _, _ := strings.Cut(strings.Join(lines[i+1:], "\n"), "\n```")
		var want []string
		for name := range strings.SplitSeq(source[2], ", ") {
			want = append(want, declaration(t, source[1], name))
		}
		if got := strings.Join(want, "\n\n"); block != got {
			t.Errorf("README.md:%d differs from %s; it should be\n%s", i+1, source[1], got)
		}
	}
	is.True(blocks >= 5)
}

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

// declaration is the source of what a file declares under a name, with its comment.
func declaration(t *testing.T, file, name string) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(file))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if doc, ok := declares(d, name); ok {
			from := d.Pos()
			if doc != nil {
				from = doc.Pos()
			}
			return string(text[files.Position(from).Offset:files.Position(d.End()).Offset])
		}
	}
	t.Fatalf("%s declares no %s", file, name)
	return ""
}

func declares(d ast.Decl, name string) (doc *ast.CommentGroup, ok bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Doc, d.Name.Name == name
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				ok = ok || s.Name.Name == name
			case *ast.ValueSpec:
				for _, n := range s.Names {
					ok = ok || n.Name == name
				}
			}
		}
		return d.Doc, ok
	}
	return nil, false
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
