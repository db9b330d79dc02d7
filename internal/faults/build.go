package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// skewVariable is by how many seconds the clock of a worker process is off.
const skewVariable = "LETTERBOX_FAULTS_SKEW"

// build makes the program that worker processes run: this one, with package time changed so that its wall clock can be
// off, for a process cannot have a clock of its own otherwise. With sabotage, the library's statements are changed too.
func build(ctx context.Context, dir string, sabotage bool) (program string, err error) {
	root, err := goCommand(ctx, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	changes := []change{
		{filepath.Join(root, "src/time/time.go"), clockOff},
		{filepath.Join(root, "src/time/faults.go"), func(string) (string, error) { return skewSource, nil }},
	}
	if sabotage {
		library, err := goCommand(ctx, "list", "-f", "{{.Dir}}", "github.com/letterbox-go/letterbox/internal/postgres")
		if err != nil {
			return "", err
		}
		for name, guards := range guarded {
			changes = append(changes, change{filepath.Join(library, name), withoutGuards(guards)})
		}
	}
	overlay, err := overlayIn(dir, changes)
	if err != nil {
		return "", fmt.Errorf("change the sources of workers: %w", err)
	}
	program = filepath.Join(dir, "worker")
	_, err = goCommand(ctx, "build", "-overlay", overlay, "-o", program, "github.com/letterbox-go/letterbox/internal/faults")
	return program, err
}

// change is a source file and what becomes of it.
type change struct {
	path string
	edit func(source string) (string, error)
}

// overlayIn writes changed files to dir and returns a file that tells the compiler; see go help build.
func overlayIn(dir string, changes []change) (path string, err error) {
	replace := map[string]string{}
	for i, c := range changes {
		source, err := os.ReadFile(c.path)
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		text, err := c.edit(string(source))
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.path, err)
		}
		replace[c.path] = filepath.Join(dir, fmt.Sprintf("%d_%s", i, filepath.Base(c.path)))
		if err := os.WriteFile(replace[c.path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// clockOff makes time.Now wrong. What measures durations reads another clock.
func clockOff(source string) (string, error) {
	const from, to = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n", "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n\tsec += faultsSkew\n"
	return replaceAll(source, from, to, 1)
}

const skewSource = `package time

import "syscall"

var faultsSkew = func() (n int64) {
	text, _ := syscall.Getenv("` + skewVariable + `")
	negative := text != "" && text[0] == '-'
	if negative {
		text = text[1:]
	}
	for _, c := range []byte(text) {
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n
}()
`

// guarded are the files whose statements look at the lease token before they end a claim, and how many do.
var guarded = map[string]int{"settle.go": 4, "held.go": 3}

// withoutGuards makes those statements look at the id alone.
func withoutGuards(n int) func(string) (string, error) {
	return func(source string) (string, error) {
		var lines []string
		found := 0
		for l := range strings.Lines(source) {
			if !strings.HasPrefix(l, "//") && strings.Contains(l, "acquired_token IS NOT DISTINCT FROM") {
				found++
				l = strings.NewReplacer(
					"o.acquired_token IS NOT DISTINCT FROM mine.token", "true",
					"acquired_token IS NOT DISTINCT FROM $2::uuid", "$2::uuid IS DISTINCT FROM gen_random_uuid()",
				).Replace(l)
			}
			lines = append(lines, l)
		}
		if found != n {
			return "", fmt.Errorf("%d guards of the lease token, not %d: has the statement been rewritten?", found, n)
		}
		return strings.Join(lines, ""), nil
	}
}

func replaceAll(source, from, to string, n int) (string, error) {
	if found := strings.Count(source, from); found != n {
		return "", fmt.Errorf("%q is there %d times, not %d", from, found, n)
	}
	return strings.ReplaceAll(source, from, to), nil
}

// goCommand runs the go command, and returns what it prints.
func goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}
