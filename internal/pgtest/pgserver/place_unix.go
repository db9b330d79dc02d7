//go:build unix && !aix && !solaris

package pgserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// socketName is as long as the name of the server's socket in its folder can be: its port is a part of it.
	socketName = ".s.PGSQL.65535"
	// socketLimit is the longest path of a socket: 104 bytes on macOS and the BSDs, 108 on Linux, with a zero at the end.
	socketLimit = 103
	// memoryNeeded is the room a folder in memory must have. Containers often give 64 MB, which one test can fill.
	memoryNeeded = 1 << 30
)

// fits checks that base can hold the folder of a server.
func fits(base string, who account, durable bool) error {
	if !filepath.IsAbs(base) {
		return fmt.Errorf("%s is not absolute", base)
	}
	if len(filepath.Join(base, folderPrefix+"0123456789", socketName)) > socketLimit {
		return fmt.Errorf("%s is too long for the path of a socket", base)
	}
	info, err := os.Stat(base)
	if err != nil {
		return err
	}
	if err := who.reaches(base); err != nil {
		return err
	}
	if who.other && info.Mode()&0o002 == 0 && !who.owns(info) {
		return fmt.Errorf("user %s can't write to %s", who.name, base)
	}
	free, memory, err := space(base)
	if err != nil {
		return err
	}
	if durable && memory {
		return fmt.Errorf("%s is in memory, not on a disk", base)
	}
	if memory && free < memoryNeeded {
		return fmt.Errorf("%s has less than 1 GiB free", base)
	}
	return nil
}

// serverFolder makes the folder of a server in the first of the places that can hold it, and sweeps those it tries.
func serverFolder(places []string, who account, durable bool, command func(dir string) []string) (*folder, error) {
	var errs []error
	for _, base := range places {
		err := fits(base, who, durable)
		if err == nil {
			sweep(base, who)
			var f *folder
			f, err = newFolder(base, who, command)
			if err == nil || errors.Is(err, errNoChange) {
				return f, err
			}
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no place for a server's folder: %w", errors.Join(errs...))
}
