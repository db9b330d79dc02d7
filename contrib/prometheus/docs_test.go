package prometheus_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"
)

var (
	typeLine  = regexp.MustCompile(`(?m)^# TYPE (letterbox_\w+) (\w+)$`)
	tableLine = regexp.MustCompile("(?m)^\\| `(letterbox_\\w+)` \\| (\\w+) \\|")
	mention   = regexp.MustCompile(`letterbox_[a-z_]+[a-z]`)
)

// exported are the metrics of a real run, with their types.
func exported(t *testing.T) map[string]string {
	t.Helper()
	return pairs(typeLine, get(t, endpoint(t, live(t))))
}

func pairs(line *regexp.Regexp, text string) map[string]string {
	found := map[string]string{}
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
	}
	return found
}

func TestREADME_ListsEveryMetricWithItsType(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	text, err := os.ReadFile("README.md")
	is.NoErr(err)
	want := exported(t)
	is.True(len(want) > 10)
	listed := pairs(tableLine, string(text))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if listed[name] != want[name] {
			t.Errorf("README.md calls %s a %q, it is a %q", name, listed[name], want[name])
		}
	}
	is.Equal(len(listed), len(want))
}

func TestDashboard_IsJSONWithAQueryInEachPanel(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	text, err := os.ReadFile("../../docs/grafana-letterbox.json")
	is.NoErr(err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	is.NoErr(json.Unmarshal(text, &dashboard))
	is.True(len(dashboard.Panels) > 5)
	for _, p := range dashboard.Panels {
		is.True(len(p.Targets) > 0)
		for _, target := range p.Targets {
			if !mention.MatchString(target.Expr) {
				t.Errorf("panel %q asks for %q, which is no metric of ours", p.Title, target.Expr)
			}
		}
	}
}

func TestDocs_NameOnlyMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	want := exported(t)
	for _, file := range []string{"README.md", "../../docs/monitoring.md", "../../docs/grafana-letterbox.json"} {
		text, err := os.ReadFile(file)
		is.NoErr(err)
		names := mention.FindAllString(string(text), -1)
		is.True(len(names) > 10)
		for _, name := range names {
			base := name
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				if whole, ok := strings.CutSuffix(name, part); ok && want[whole] == "histogram" {
					base = whole
				}
			}
			if _, ok := want[base]; !ok {
				t.Errorf("%s names %s, which is no metric of the collector", file, name)
			}
		}
	}
}
