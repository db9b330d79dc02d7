package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"
)

const (
	module = "github.com/letterbox-go/letterbox"

	pgx     = "github.com/jackc/pgx/v5"
	msgpack = "github.com/vmihailenco/msgpack/v5"
	uuid    = "github.com/google/uuid"
	gronx   = "github.com/adhocore/gronx"
	isTest  = "github.com/matryer/is"
	rapid   = "pgregory.net/rapid"
)

// layer says what one package may import outside its tests: ours, and modules of others. The standard library is free
// to all.
type layer struct {
	name   string // below the module; ending in "/..." it stands for all packages below
	ours   []string
	theirs []string
}

// layers is the whole picture, from the bottom to the top: a package reaches only what comes before it in this list.
var layers = []layer{
	// These stand alone.
	{name: "codec", theirs: []string{msgpack}},
	{name: "queue/retry"},
	{name: "internal/store", theirs: []string{uuid}},

	// The engine knows no SQL, no handler and no policy; the stores do not know the engine.
	{name: "internal/lease", ours: []string{"internal/store"}, theirs: []string{uuid}},
	{name: "internal/postgres", ours: []string{"internal/store"}, theirs: []string{pgx, uuid}},
	{name: "internal/memory", ours: []string{"internal/store"}, theirs: []string{uuid}},

	// Both stores behind whatever a caller has.
	{name: "internal/access", ours: []string{"internal/memory", "internal/postgres", "internal/store"}, theirs: []string{pgx}},

	// The product, in bytes.
	{
		name:   "queue",
		ours:   []string{"internal/access", "internal/lease", "internal/memory", "internal/postgres", "internal/store", "queue/retry"},
		theirs: []string{pgx, uuid},
	},
	{
		name:   "timers",
		ours:   []string{"internal/access", "internal/postgres", "internal/store", "queue", "queue/retry"},
		theirs: []string{pgx, uuid, gronx},
	},
	{name: "dlq", ours: []string{"internal/access", "internal/postgres", "internal/store", "queue"}, theirs: []string{pgx, uuid}},

	// The face: the only one, beside codec, with type parameters.
	{name: "typed", ours: []string{"codec", "dlq", "queue", "queue/retry", "timers"}, theirs: []string{pgx}},

	// For tests: ours, and those of users.
	{name: "internal/store/storetest", ours: []string{"internal/store"}, theirs: []string{uuid, isTest, rapid}},
	{name: "internal/pgtest/pgserver", theirs: []string{pgx}},
	{name: "internal/pgtest", ours: []string{"internal/pgtest/pgserver"}, theirs: []string{pgx}},
	{name: "internal/pgtest", ours: []string{"internal/pgtest/pgserver"}, theirs: []string{pgx}},
	{name: "queue/queuetest", ours: []string{"internal/access", "internal/memory", "internal/postgres", "internal/store", "queue"}, theirs: []string{pgx}},
	{name: "typed/typedtest", ours: []string{"queue/queuetest", "typed"}},
	{name: "internal/architecture"},
	{name: "internal/docs"},

	// What users write, and so nothing internal but the server to run on.
	{
		name: "examples/...",
		ours: []string{
			"codec", "dlq", "queue", "queue/queuetest", "queue/retry", "timers", "typed", "typed/typedtest",
			"examples/...", "internal/pgtest", "internal/pgtest/pgserver",
		},
		theirs: []string{pgx},
	},
}

// outside are the packages that no user of the library compiles in.
var outside = []string{
	"examples/...", "internal/architecture", "internal/docs", "internal/pgtest", "internal/pgtest/...", "internal/store/storetest",
	"queue/queuetest", "typed/typedtest",
}

// pulledIn are the modules that a user of the library gets with it: four of its own choice, and theirs.
var pulledIn = []string{
	pgx, "github.com/jackc/pgpassfile", "github.com/jackc/pgservicefile", "github.com/jackc/puddle/v2",
	"golang.org/x/sync", "golang.org/x/text",
	msgpack, "github.com/vmihailenco/tagparser/v2",
	uuid,
	gronx, // cron expressions; it has no dependencies
}

func TestImports_PointDown(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./...") {
		l, ok := layerOf(p.name())
		if !ok {
			t.Errorf("%s has no layer: add it to the table of this test, with what it may import", p.name())
			continue
		}
		for _, i := range p.Imports {
			mine, isOurs := strings.CutPrefix(i, module+"/")
			switch {
			case isOurs && !covers(l.ours, mine):
				t.Errorf("%s imports our %s; of ours it may import %s", p.name(), mine, words(l.ours))
			case !isOurs && strings.Contains(i, ".") && !slices.ContainsFunc(l.theirs, func(m string) bool { return within(i, m) }):
				t.Errorf("%s imports %s; of others it may import %s", p.name(), i, words(l.theirs))
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if mine, ours := strings.CutPrefix(i, module+"/"); ours && covers([]string{"examples/..."}, mine) && !covers([]string{"examples/..."}, p.name()) {
				t.Errorf("tests of %s import %s: nothing may need the examples", p.name(), mine)
			}
		}
	}
}

func TestLayers_ReachOnlyThoseBeforeThem(t *testing.T) {
	t.Parallel()
	const among = "examples/..." // the compiler keeps those from going round in circles
	var before []string
	for _, l := range layers {
		for _, o := range l.ours {
			if !slices.Contains(before, o) && (l.name != among || o != among) {
				t.Errorf("the table lets %s import %s, which is not below it", l.name, o)
			}
		}
		before = append(before, l.name)
	}
}

func TestDependencies_AreFew(t *testing.T) {
	t.Parallel()
	var core []string
	for _, p := range list(t, "./...") {
		if !covers(outside, p.name()) {
			core = append(core, p.ImportPath)
		}
	}
	for _, p := range list(t, append([]string{"-deps"}, core...)...) {
		switch {
		case p.Standard || p.Module.Path == module && !covers(outside, p.name()):
		case p.Module.Path == module:
			t.Errorf("the library needs %s, which is for tests and examples", p.name())
		case !slices.Contains(pulledIn, p.Module.Path):
			t.Errorf("the library pulls in %s (package %s)", p.Module.Path, p.ImportPath)
		}
	}
}

func TestGoMod_RequiresFiveModules(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	is.NoErr(json.Unmarshal(output(t, "mod", "edit", "-json"), &mod))
	direct := map[string]bool{}
	for _, r := range mod.Require {
		if !r.Indirect {
			direct[r.Path] = true
		}
	}
	is.Equal(slices.Sorted(maps.Keys(direct)), []string{gronx, uuid, pgx, isTest, msgpack, rapid})
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath                         string
	Standard                           bool
	Module                             struct{ Path string }
	Imports, TestImports, XTestImports []string
}

// name is the package's path below the module.
func (p listed) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func list(t *testing.T, args ...string) (packages []listed) {
	t.Helper()
	out := output(t, append([]string{"list", "-json=ImportPath,Standard,Module,Imports,TestImports,XTestImports"}, args...)...)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("reading what go list says: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) == 0 {
		t.Fatal("go list names no package")
	}
	return packages
}

// output runs the go command in the module's root.
func output(t *testing.T, args ...string) []byte {
	t.Helper()
	root := filepath.Join("..", "..")
	touch(t, root)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "GOWORK=off") // this module alone
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, stderr.String())
	}
	return out
}

// touch looks at every folder. go test takes a kept result while nothing that the test itself opened has changed, and
// does not know what the go command below it reads.
func touch(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func layerOf(name string) (layer, bool) {
	for _, l := range layers {
		if covers([]string{l.name}, name) {
			return l, true
		}
	}
	return layer{}, false
}

// covers says whether one of the names is name, or stands for it.
func covers(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		below, all := strings.CutSuffix(n, "/...")
		return n == name || all && within(name, below)
	})
}

// within says whether a path is that of a module or folder, or lies in it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func words(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("only %s", strings.Join(names, ", "))
}
