package pgserver

import (
	"slices"
	"testing"

	"github.com/matryer/is"
)

func TestParseVersion(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want version
		ok   bool
	}{
		{"postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", version{15, 14}, true},
		{"postgres (PostgreSQL) 18.4", version{18, 4}, true},
		{"postgres (PostgreSQL) 18beta1", version{18, 0}, true},
		{"postgres (PostgreSQL) 19devel", version{19, 0}, true},
		{"postgres (PostgreSQL) 9.6.24", version{9, 6}, true},
		{"16.2 (Ubuntu 16.2-1.pgdg22.04+1)", version{16, 2}, true},
		{"postgres", version{}, false},
		{"99999999999999999999", version{}, false},
		{"", version{}, false},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			got, ok := parseVersion(test.text)
			is.Equal(ok, test.ok)
			is.Equal(got, test.want)
		})
	}
}

func TestVersionInPath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path string
		want version
	}{
		{"/usr/lib/postgresql/15/bin", version{15, 0}},
		{"/usr/pgsql-16/bin", version{16, 0}},
		{"/usr/pgsql-9.6/bin", version{9, 6}},
		{"/usr/libexec/postgresql17", version{17, 0}},
		{"/usr/lib64/postgresql-14/bin", version{14, 0}},
		{"/opt/homebrew/opt/postgresql@18/bin", version{18, 0}},
		{"/opt/homebrew/Cellar/postgresql@16/16.4_1/bin", version{16, 4}},
		{"/Applications/Postgres.app/Contents/Versions/18/bin", version{18, 0}},
		{"/Applications/Postgres.app/Contents/Versions/latest/bin", version{}},
		{"/usr/local/pgsql/bin", version{}},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			is.New(t).Equal(versionInPath(test.path), test.want)
		})
	}
}

func TestVersion_OrdersByNumber(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	versions := []version{{15, 2}, {9, 6}, {18, 0}, {}, {15, 14}, {10, 23}}
	slices.SortFunc(versions, version.compare)
	is.Equal(versions, []version{{}, {9, 6}, {10, 23}, {15, 2}, {15, 14}, {18, 0}})
}
