package docs

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

func TestShellBlocks_NameWhatExists(t *testing.T) {
	t.Parallel()
	each(t, checkShell, "sh", "bash", "shell", "console")
}

func TestShellBlocks_AreRefusedWhereTheyDoNot(t *testing.T) {
	t.Parallel()
	refuses(t, checkShell, block{text: "go run ./examples/none -v # a comment\n"}, "no package in examples/none")
	refuses(t, checkShell, block{text: "go test -race ./queue ./nothing/...\n"}, "no folder nothing")
	refuses(t, checkShell, block{text: "cd contrib/bench\ngo test ./queue\n"}, "no package in contrib/bench/queue")
	refuses(t, checkShell, block{text: "cd contrib/nothing\n"}, "no folder contrib/nothing")
	refuses(t, checkShell, block{text: "go run github.com/letterbox-go/letterbox/examples/none@latest\n"}, "no package in examples/none")
	if err := checkShell(block{text: "cd contrib/bench\ngo run . -chart ../../docs/none.svg\n.ci/run\n"}); err != nil {
		t.Error(err)
	}
}

const module = "github.com/letterbox-go/letterbox/"

// checkShell looks for the packages that commands of go name. A cd holds for the lines after it.
func checkShell(b block) error {
	at := "."
	for line := range strings.Lines(b.text) {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) == 2 && words[0] == "cd" && !path.IsAbs(words[1]) {
			at = path.Join(at, words[1])
			if info, err := os.Stat(filepath.Join(root, at)); err != nil || !info.IsDir() {
				return fmt.Errorf("there is no folder %s", at)
			}
		}
		for _, p := range packagesOf(words) {
			if ours, ok := strings.CutPrefix(p, module); ok {
				ours, _, _ = strings.Cut(ours, "@")
				p = path.Join(".", ours)
			} else {
				p = path.Join(at, p)
			}
			if err := holdsPackage(p); err != nil {
				return fmt.Errorf("%q: %w", strings.TrimSpace(line), err)
			}
		}
	}
	return nil
}

// packagesOf are the packages of this repository that a command names: one of go run, else any number.
func packagesOf(words []string) (named []string) {
	for i, w := range words {
		if w != "go" || i+1 == len(words) {
			continue
		}
		verb := words[i+1]
		if verb != "run" && verb != "test" && verb != "vet" && verb != "build" && verb != "install" {
			return nil
		}
		for _, w := range words[i+2:] {
			if w == "." && verb == "run" || strings.HasPrefix(w, "./") || strings.HasPrefix(w, "../") || strings.HasPrefix(w, module) {
				named = append(named, w)
				if verb == "run" { // what follows is the program's
					break
				}
			}
		}
	}
	return named
}

// holdsPackage says whether a folder has Go files, or, where it ends in "...", is there.
func holdsPackage(name string) error {
	if above, all := strings.CutSuffix(name, "..."); all {
		above = path.Clean(above)
		if info, err := os.Stat(filepath.Join(root, above)); err != nil || !info.IsDir() {
			return fmt.Errorf("there is no folder %s", above)
		}
		return nil
	}
	entries, _ := os.ReadDir(filepath.Join(root, name)) // without one there are no entries
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") {
			return nil
		}
	}
	return fmt.Errorf("there is no package in %s", name)
}
