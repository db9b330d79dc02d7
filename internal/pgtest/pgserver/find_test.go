//go:build unix && !aix && !solaris

package pgserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// install makes a folder with executables that do no more than print their text.
func install(t *testing.T, dir string, programs map[string]string) {
	t.Helper()
	is := is.New(t)
	is.NoErr(os.MkdirAll(dir, 0o755))
	for name, text := range programs {
		script := fmt.Sprintf("#!/bin/sh\ncat <<'END'\n%s\nEND\n", text)
		is.NoErr(os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
	}
}

func server(version string) map[string]string {
	return map[string]string{"postgres": "postgres (PostgreSQL) " + version, "initdb": "initdb"}
}

func TestFinder_Find(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		install func(t *testing.T, dir string)
		set     func(dir string) settings
		env     func(dir string) map[string]string
		want    string // below dir
		version version
		fails   string // what the error says instead
	}{
		{
			name: "BinOptionFirst",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/a", server("14.1"))
				install(t, dir+"/b", server("18.4"))
			},
			set:     func(dir string) settings { return settings{bin: dir + "/a"} },
			env:     func(dir string) map[string]string { return map[string]string{"LETTERBOX_PG_BIN": dir + "/b"} },
			want:    "a",
			version: version{14, 1},
		},
		{
			name: "NamedFolderBeforePath",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/a", server("14.1"))
				install(t, dir+"/path", server("18.4"))
			},
			env: func(dir string) map[string]string {
				return map[string]string{"LETTERBOX_PG_BIN": dir + "/a", "PATH": dir + "/path:/usr/bin:/bin"}
			},
			want:    "a",
			version: version{14, 1},
		},
		{
			name:    "NamedFolderWithoutInitdbIsAnError",
			install: func(t *testing.T, dir string) { install(t, dir+"/a", map[string]string{"postgres": "postgres 15.1"}) },
			env:     func(dir string) map[string]string { return map[string]string{"LETTERBOX_PG_BIN": dir + "/a"} },
			fails:   "named by LETTERBOX_PG_BIN: no initdb in",
		},
		{
			name: "PathThroughALink",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/real/bin", server("16.4"))
				install(t, dir+"/path", nil)
				is.New(t).NoErr(os.Symlink("../real/bin/postgres", dir+"/path/postgres"))
			},
			env:     func(dir string) map[string]string { return map[string]string{"PATH": dir + "/path"} },
			want:    "real/bin",
			version: version{16, 4},
		},
		{
			name: "PgConfigNamesAFolder",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/lib/bin", server("17.1"))
				install(t, dir+"/path", map[string]string{"pg_config": dir + "/lib/bin"})
				install(t, dir+"/folders/18/bin", server("18.1"))
			},
			env:     func(dir string) map[string]string { return map[string]string{"PATH": dir + "/path"} },
			want:    "lib/bin",
			version: version{17, 1},
		},
		{
			name: "HighestVersionOfTheFolders",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/folders/9.6/bin", server("9.6.24"))
				install(t, dir+"/folders/15/bin", server("15.14"))
				install(t, dir+"/folders/16/bin", map[string]string{"postgres": "postgres 16.1"}) // only a client's
				install(t, dir+"/folders/14/bin", server("14.20"))
			},
			want:    "folders/15/bin",
			version: version{15, 14},
		},
		{
			name:    "OldVersionsAreNone",
			install: func(t *testing.T, dir string) { install(t, dir+"/folders/13/bin", server("13.23")) },
			fails:   "version 13.23 is older than 14",
		},
		{
			name: "WhatDoesNotRunIsNone",
			install: func(t *testing.T, dir string) {
				install(t, dir+"/folders/15/bin", server("15.1"))
				is.New(t).NoErr(os.WriteFile(dir+"/folders/15/bin/postgres", []byte("#!/nonexistent\n"), 0o755))
			},
			fails: "folders/15/bin (found there): running",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			is := is.New(t)
			dir, cacheFolder := testPlace(t)
			test.install(t, dir)
			env := map[string]string{"PATH": "/nonexistent", "LETTERBOX_PG_DOWNLOAD": "off"}
			if test.env != nil {
				for name, value := range test.env(dir) {
					env[name] = value
				}
			}
			set := settings{}
			if test.set != nil {
				set = test.set(dir)
			}
			f := &finder{who: ourselves(), machine: machine{
				getenv:   func(name string) string { return env[name] },
				patterns: []string{dir + "/folders/*/bin"},
				pins:     map[string]string{"test-x64": "?"},
				platform: "test-x64",
			}}
			in, err := f.find(t.Context(), set, &cache{dir: cacheFolder})
			if test.fails != "" {
				is.True(err != nil)
				is.True(strings.Contains(err.Error(), test.fails))
				return
			}
			is.NoErr(err)
			is.Equal(in.bin, filepath.Join(dir, test.want))
			is.Equal(in.version, test.version)
		})
	}
}

func TestStart_NamesEverythingTried(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, cache := testPlace(t) // without a download of before
	m, place := testMachine(t, map[string]string{
		"PATH": "/nonexistent", "LETTERBOX_PG_BIN": "", "LETTERBOX_PG_DOWNLOAD": "off", "LETTERBOX_PG_CACHE": cache,
	})
	m.patterns = []string{place + "/one/*/bin", place + "/two/*"}
	_, err := start(t.Context(), m, settings{})
	is.True(err != nil)
	for _, part := range []string{
		"no PostgreSQL server found",
		"DATABASE_URL: not set",
		"LETTERBOX_PG_BIN: not set",
		"postgres on PATH: no postgres",
		"pg_config --bindir: no pg_config",
		m.patterns[0], m.patterns[1],
		"download: ", "LETTERBOX_PG_DOWNLOAD=off",
		"apt install postgresql",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %q:\n%v", part, err)
		}
	}
	is.Equal(len(folders(t, place)), 0)
}
