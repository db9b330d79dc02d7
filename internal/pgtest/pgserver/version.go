package pgserver

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first major version the library supports.
const oldest = 14

// version is a PostgreSQL version: 15.14 is {15, 14}, and an unreleased 18beta1 is {18, 0}. The zero version stands for
// an unknown one and sorts before all others.
type version struct{ major, minor int }

var versionNumber = regexp.MustCompile(`(\d+)(?:\.(\d+))?`)

// parseVersion takes the first number in s, as in "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
func parseVersion(s string) (version, bool) {
	m := versionNumber.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return version{}, false
	}
	minor, _ := strconv.Atoi(m[2]) // absent: 0
	return version{major, minor}, true
}

// versionInPath takes the version from the last element of path that has a number: 15 for /usr/lib/postgresql/15/bin,
// 16.4 for /opt/homebrew/Cellar/postgresql@16/16.4_1/bin.
func versionInPath(path string) version {
	for _, element := range slices.Backward(strings.Split(filepath.ToSlash(path), "/")) {
		if v, ok := parseVersion(element); ok {
			return v
		}
	}
	return version{}
}

func (v version) compare(w version) int {
	return cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor))
}

func (v version) String() string {
	return strconv.Itoa(v.major) + "." + strconv.Itoa(v.minor)
}
