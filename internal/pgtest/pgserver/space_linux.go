package pgserver

import (
	"fmt"
	"syscall"
)

// Magic numbers of file systems in memory, from linux/magic.h.
const (
	tmpfs = 0x01021994
	ramfs = 0x858458f6
)

// space is the room below dir, and whether it is in memory.
func space(dir string) (free uint64, memory bool, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false, fmt.Errorf("asking for the room in %s: %w", dir, err)
	}
	kind := uint32(s.Type) // signed and of another width on some architectures
	return s.Bavail * uint64(s.Bsize), kind == tmpfs || kind == ramfs, nil
}
