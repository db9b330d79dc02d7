package architecture

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/matryer/is"
)

// The go command makes a zip of a module and refuses one with a file that some system could not have. The rules are those of
// golang.org/x/mod/module.CheckFilePath, and no two paths may differ by case alone.
func TestPaths_MayBeInAModuleZip(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	const root = "../.."
	folded, n := map[string]string{}, 0
	is.NoErr(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // of another test, which has removed it
		}
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		if err != nil || path == "." {
			return err
		}
		if path == ".git" {
			if d.IsDir() { // else it is a worktree's
				return filepath.SkipDir
			}
			return nil
		}
		n++
		if why := unzippable(d.Name()); why != "" {
			t.Errorf("%s: no module may have it: %s", path, why)
		}
		lower := strings.ToLower(path)
		if other, twice := folded[lower]; twice {
			t.Errorf("%s and %s differ by case alone", other, path)
		}
		folded[lower] = path
		return nil
	}))
	is.True(n > 100)
}

func TestUnzippable_KnowsTheRules(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"nul": false, "NUL.txt": false, "con": false, "aux.go": false, "prn.": false, "com1": false, "LPT9.tar.gz": false,
		"ends.": false, "a:b": false, "a*b": false, `a\b`: false, "a|b": false, "a?b": false, "a'b": false, "tab\tbed": false, "a\xff": false, "→": false,
		"null": true, "com10": true, "com": true, ".gitignore": true, "a b": true, "5838cdfae7b16cde": true, "né.md": true,
	} {
		if why := unzippable(name); (why == "") != want {
			t.Errorf("%q: %q", name, why)
		}
	}
}

// unzippable says what is wrong with the name of a file or a folder; "" where nothing is.
func unzippable(name string) string {
	if strings.HasSuffix(name, ".") {
		return "it ends in a dot"
	}
	for _, r := range name {
		if !unicode.IsLetter(r) && !strings.ContainsRune("0123456789!#$%&()+,-.=@[]^_{}~ ", r) {
			return "it has " + strconv.QuoteRune(r)
		}
	}
	base, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch base {
	case "con", "prn", "aux", "nul":
		return "Windows has a device of that name"
	}
	if len(base) == 4 && (strings.HasPrefix(base, "com") || strings.HasPrefix(base, "lpt")) && base[3] >= '1' && base[3] <= '9' {
		return "Windows has a device of that name"
	}
	return ""
}
