//go:build unix && !aix && !solaris

package pgserver

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/matryer/is"
)

func TestSweep_RemovesOnlyWhatNobodyLivesIn(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, _ := testPlace(t)
	alive, err := newFolder(place, ourselves(), nil)
	is.NoErr(err)
	defer func() { is.NoErr(alive.end()) }()
	folder := func(name string, locked bool, age time.Duration) string {
		path := filepath.Join(place, name)
		is.NoErr(os.MkdirAll(filepath.Join(path, "data"), 0o700))
		if locked {
			is.NoErr(os.WriteFile(filepath.Join(path, lockName), nil, 0o600)) // and nobody holds it
		}
		at := time.Now().Add(-age)
		is.NoErr(os.Chtimes(path, at, at))
		return path
	}
	dead := folder(folderPrefix+"dead", true, 0)
	unlocked := folder(folderPrefix+"unlocked", false, lockless+time.Minute)
	kept := []string{
		alive.path,
		folder(folderPrefix+"young", false, 0), // about to get its lock
		folder("letterbox", true, lockless+time.Minute),
		folder("other", true, lockless+time.Minute),
	}
	linked := filepath.Join(place, folderPrefix+"link")
	is.NoErr(os.Symlink(kept[3], linked))
	kept = append(kept, linked)

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { sweep(place, ourselves()) })
	}
	wg.Wait()
	for _, path := range []string{dead, unlocked} {
		_, err := os.Lstat(path)
		is.True(os.IsNotExist(err))
	}
	for _, path := range kept {
		_, err := os.Stat(path)
		is.NoErr(err)
	}
	for _, path := range kept[1:] {
		is.NoErr(os.RemoveAll(path))
	}
}

func TestStart_SweepsItsPlaces(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, cache := testPlace(t)
	m, _ := testMachine(t, map[string]string{"LETTERBOX_PG_CACHE": cache})
	m.places = func(bool) []string { return []string{place} }
	var stale []string
	for _, base := range []string{place, filepath.Join(cache, "work")} {
		path := filepath.Join(base, folderPrefix+"dead")
		is.NoErr(os.MkdirAll(path, 0o755))
		is.NoErr(os.WriteFile(filepath.Join(path, lockName), nil, 0o600))
		stale = append(stale, path)
	}
	unusedData := filepath.Join(cache, dataPrefix+"old")
	is.NoErr(os.Mkdir(unusedData, 0o700))
	at := time.Now().Add(-unused - time.Hour)
	is.NoErr(os.Chtimes(unusedData, at, at))

	s, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	for _, path := range append(stale, unusedData) {
		_, err := os.Lstat(path)
		is.True(os.IsNotExist(err))
	}
	is.NoErr(s.Close())
}

func TestCache_MustBeOurs(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	_, cache := testPlace(t)
	m, _ := testMachine(t, map[string]string{"LETTERBOX_PG_CACHE": cache})
	is.NoErr(os.Chmod(cache, 0o777)) // anybody may have put a server there
	_, err := openCache(m, ourselves())
	is.True(err != nil)
}

func TestStart_WorksWithoutACache(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	m, place := testMachine(t, nil)
	who, err := serverAccount()
	is.NoErr(err)
	in, err := (&finder{machine: m, who: who}).find(t.Context(), settings{}, &cache{err: os.ErrNotExist})
	is.NoErr(err)
	f, err := newFolder(place, who, nil)
	is.NoErr(err)
	defer func() { is.NoErr(f.end()) }()
	is.NoErr((&cache{err: os.ErrNotExist}).provide(t.Context(), in, f))
	_, err = os.Stat(filepath.Join(f.path, dataName, "PG_VERSION"))
	is.NoErr(err)
	is.Equal(len(folders(t, place)), 1)
}

func TestStart_TakesASpoiltDataDirectoryOutOfTheCache(t *testing.T) {
	t.Parallel()
	is := is.New(t)
	place, cache := testPlace(t)
	m, _ := testMachine(t, map[string]string{"LETTERBOX_PG_CACHE": cache})
	m.places = func(bool) []string { return []string{place} }
	s, err := start(t.Context(), m, settings{})
	is.NoErr(err)
	is.NoErr(s.Close())
	cached, err := filepath.Glob(filepath.Join(cache, dataPrefix+"*"))
	is.NoErr(err)
	is.Equal(len(cached), 1)
	is.NoErr(os.Truncate(filepath.Join(cached[0], "global", "pg_control"), 0))

	_, err = start(t.Context(), m, settings{})
	is.True(err != nil)
	s, err = start(t.Context(), m, settings{})
	is.NoErr(err)
	is.NoErr(s.Close())
	is.Equal(len(folders(t, place, filepath.Join(cache, "work"))), 0)
}
