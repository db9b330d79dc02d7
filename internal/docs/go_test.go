package docs

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestGoBlocks_AreCodeThatCompiles(t *testing.T) {
	t.Parallel()
	each(t, checkGo, "go", "golang")
}

func TestGoBlocks_AreRefusedWhereTheyAreNot(t *testing.T) {
	t.Parallel()
	refuses(t, checkGo, block{text: "fmt.Println()\n"}, "names no source")
	refuses(t, checkGo, block{comment: "examples/none.go: A", text: "x\n"}, "no such file")
	refuses(t, checkGo, block{comment: "examples/readme/message.go: Nothing", text: "x\n"}, "declares no Nothing")
	refuses(t, checkGo, block{comment: "examples/readme/message.go: OrderPlaced", text: "x\n"}, "it should be")
}

var fromFile = regexp.MustCompile(`^(\S+\.go): (.+)$`)

// checkGo compares a block with the declarations that its comment names.
func checkGo(b block) error {
	source := fromFile.FindStringSubmatch(b.comment)
	if source == nil {
		return errors.New("the Go block names no source: put its code into a file that is compiled, below examples or in a module of " +
			"contrib, and before the block a line <!-- examples/folder/file.go: Name, Name --> with the declarations that it repeats")
	}
	var want []string
	for name := range strings.SplitSeq(source[2], ", ") {
		code, err := declaration(source[1], name)
		if err != nil {
			return err
		}
		want = append(want, code)
	}
	if all := strings.Join(want, "\n\n") + "\n"; b.text != all {
		return fmt.Errorf("the Go block differs from %s; it should be\n%s", source[1], all)
	}
	return nil
}

// declaration is the source of what a file declares under a name, with its comment.
func declaration(file, name string) (string, error) {
	path := filepath.Join(root, filepath.FromSlash(file))
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, path, text, parser.ParseComments)
	if err != nil {
		return "", err
	}
	for _, d := range parsed.Decls {
		if doc, ok := declares(d, name); ok {
			from := d.Pos()
			if doc != nil {
				from = doc.Pos()
			}
			return string(text[files.Position(from).Offset:files.Position(d.End()).Offset]), nil
		}
	}
	return "", fmt.Errorf("%s declares no %s", file, name)
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
