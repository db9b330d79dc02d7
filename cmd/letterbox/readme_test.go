package main

import (
	"os"
	"strings"
	"testing"

	"github.com/matryer/is"
)

func TestPages_ShowCommandsThatParse(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "../../README.md"} {
		n := 0
		for line := range strings.Lines(read(t, page)) {
			if strings.HasPrefix(line, "letterbox ") {
				parsed(t, strings.TrimSpace(line))
				n++
			}
		}
		if n < 5 {
			t.Errorf("%s has only %d commands", page, n)
		}
	}
}

func TestReadme_NamesEachCommand(t *testing.T) {
	t.Parallel()
	page := read(t, "README.md")
	for _, c := range leaves(newRoot(&tool{})) {
		if name := strings.TrimPrefix(c.CommandPath(), "letterbox "); !strings.Contains(page, "`"+name) {
			t.Errorf("README.md does not speak of %s", name)
		}
	}
}

func TestReadme_NamesEachFieldOfJSON(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	page := read(t, "README.md")
	db := clocks(t)
	letters(t, db, "reminders", 2)
	execute(t, db, `ALTER TABLE outbox DROP CONSTRAINT outbox_lease_ck`)
	for _, command := range []string{
		"migrate up --dry-run --json --table other", "validate --json", "doctor --json", "status --json", "peek plain --json", "peek reminders --id 2 --json",
		"publish q --data 1 --json", "pause q --json", "timers list --json", "timers cancel reminders --all --json",
		"dlq list --json", "dlq list --count --json", "dlq show 1 --json", "dlq replay --all --json", "dlq purge --all --json",
		"bench --messages 1 --samples 1 --json",
	} {
		r := letterbox(t, db, strings.Fields(command)...)
		all := objects[map[string]any](t, r)
		is.True(len(all) > 0) // of command
		for _, object := range all {
			delete(object, "headers") // whose names are the program's
			delete(object, "payload_json")
			for _, name := range fields(object) {
				if !strings.Contains(page, "`"+name+"`") {
					t.Errorf("README.md does not speak of %s of %s", name, command)
				}
			}
		}
	}
}

// fields are the names of an object, and of those in it.
func fields(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			names = append(append(names, name), fields(value)...)
		}
	case []any:
		for _, value := range v {
			names = append(names, fields(value)...)
		}
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
